"""Who trains: the players of each stage of a run, and all that a run keeps."""

import torch

from fes.config import Config, Stage
from fes.learning.dials import Dials
from fes.learning.guide import Guide
from fes.learning.players import bare_players
from fes.learning.stages import share_of_new_blocks, stage_at, staged
from fes.model.edges import edges_of, fade
from fes.model.ema import Ema
from fes.model.networks import Networks
from fes.runtime.engine import Engine
from fes.runtime.player import Player
from fes.runtime.processes import Runtime
from fes.saved.state import Keeper, Parts


class Cast:
    """The players of a run: step -> those of its stage. They are made when it begins, and anew where new
    blocks have faded in: what is not needed any more is not trained."""

    def __init__(
        self,
        config: Config,
        networks: Networks,
        dials: Dials,
        runtime: Runtime,
        guide: Guide | None = None,
        ema: Ema | None = None,
    ) -> None:
        """`ema` has to fade with the networks, where they grow."""
        self.config, self.networks, self.dials, self.runtime = config, networks, dials, runtime
        self.guide, self._ema = guide, ema
        self.keepers: dict[str, Keeper] = {"dials": dials} | ({"guide": guide} if guide else {})
        """What a state keeps besides weights: dials, guide, and `players`."""
        self.players: dict[str, Player | Engine] = {}
        """Those of the stage asked for last."""
        self._phase: tuple[Stage, bool] | None = None
        self._grows = any(edges_of(networks))

    def __call__(self, step: int) -> dict[str, Player | Engine]:
        if self._grows:
            self._fade(share_of_new_blocks(self.config, step))
        phase = stage_at(self.config, step), self._grows
        if phase != self._phase:
            self._phase = phase
            self._make_players(phase[0])
        return self.players

    def _make_players(self, stage: Stage) -> None:
        config = staged(self.config, stage)
        for old in self.players.values():
            old.close()
        bare = bare_players(config, self.networks, self.dials, stage, self.guide)
        clip = config.optimiser.max_gradient_norm
        steady = not self.dials.move and not self._grows
        self.players = {name: self.runtime.player(*each, clip, steady) for name, each in bare.items()}
        self.keepers |= self.players

    def _fade(self, share: float) -> None:
        fade(self.networks, share)
        if self._ema:
            self._ema.fade(share)
        self._grows = share < 1


def build(
    config: Config, networks: Networks, runtime: Runtime, start: int = 0, guide: Guide | None = None
) -> tuple[Parts, Ema, Cast]:
    """What a run keeps from step `start` on: the networks' average, and the players."""
    if runtime.hardware.channels_last:
        networks.to(memory_format=torch.channels_last)
    ema = Ema(networks, config.ema_halflife_kimg)
    dials = Dials(config.loss, config.augment, runtime.device)
    cast = Cast(config, networks, dials, runtime, guide, ema)
    cast(start)
    return Parts(networks, ema.average, cast.keepers), ema, cast
