"""Who trains: the players of each stage of a run, and all that a run keeps."""

import torch

from fes.config import Config, Stage
from fes.dials import Dials
from fes.ema import Ema
from fes.guide import Guide
from fes.networks import Networks
from fes.objectives import bare_players
from fes.runtime.engine import Engine
from fes.runtime.player import Player
from fes.runtime.processes import Runtime
from fes.stages import stage_at, staged
from fes.state import Keeper, Parts


class Cast:
    """The players of a run: step -> those of its stage, which are made when the stage begins."""

    def __init__(
        self, config: Config, networks: Networks, dials: Dials, runtime: Runtime, guide: Guide | None = None
    ) -> None:
        self.config, self.networks, self.dials, self.runtime = config, networks, dials, runtime
        self.guide = guide
        self.keepers: dict[str, Keeper] = {"dials": dials} | ({"guide": guide} if guide else {})
        """What a state keeps besides weights: dials, guide, and the players of the stage asked for last."""
        self._players: dict[str, Player | Engine] = {}
        self._stage: Stage | None = None

    def __call__(self, step: int) -> dict[str, Keeper]:
        stage = stage_at(self.config, step)
        if stage != self._stage:
            self._stage, config = stage, staged(self.config, stage)
            for old in self._players.values():
                old.close()
            bare = bare_players(config, self.networks, self.dials, stage, self.guide)
            clip = config.optimiser.max_gradient_norm
            steady = not self.dials.move
            self._players = {name: self.runtime.player(*each, clip, steady) for name, each in bare.items()}
            self.keepers |= self._players
        return self.keepers


def build(
    config: Config, networks: Networks, runtime: Runtime, start: int = 0, guide: Guide | None = None
) -> tuple[Parts, Ema, Cast]:
    """What a run keeps from step `start` on: the networks' average, and the players."""
    if runtime.hardware.channels_last:
        networks.to(memory_format=torch.channels_last)
    ema = Ema(networks, config.ema_halflife_kimg)
    cast = Cast(config, networks, Dials(config.loss, config.augment, runtime.device), runtime, guide)
    return Parts(networks, ema.average, cast(start)), ema, cast
