"""The same updates on the ranks at hand, and alone on each of them."""

import dataclasses
import socket
import time
from collections.abc import Mapping
from functools import cached_property

import torch
from torch import Tensor, nn

from fes.batch import Batch
from fes.clock import Clock
from fes.config import Config
from fes.data.stream import share_of
from fes.draws import Noise, noise, numpy_rng
from fes.expressions import EXPRESSIONS, UNLABELLED
from fes.hardware import pieces
from fes.learning.guide import Guide, guide_for
from fes.learning.players import BarePlayer, bare_players
from fes.model.networks import Networks
from fes.runtime.processes import Runtime
from fes.selfcheck.verdict import FLOAT32, FLOAT64, Difference, Found, furthest
from fes.training.trainer import Player
from fes.training.watch import digest

UPDATES, SECONDS = 10, 25.0
"""Updates of the autoencoder, or as many of them as so many seconds are enough for."""
FEW, RATE = 2, 5e-4
"""Updates in float32, where rounding grows with each, and their rate, for which its limit is made."""


class Alone:
    """What one process would do: the objectives as they are, on whole batches."""

    def __init__(self, players: Mapping[str, BarePlayer], max_gradient_norm: float | None) -> None:
        self.players, self.clip = players, max_gradient_norm

    def step(self, name: str, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        """One update of a player; returns its gradients, by parameter."""
        objective, optimiser = self.players[name]
        optimiser.zero_grad(set_to_none=True)
        objective(batch, noise)[0].backward()
        if self.clip is not None:
            nn.utils.clip_grad_norm_(objective.parameters(), self.clip)
        optimiser.step()
        return {key: each.grad for key, each in learning(objective).items()}


class Comparison:
    """Of the ranks with one process. All ranks have to call `found`."""

    def __init__(self, config: Config, runtime: Runtime) -> None:
        self.config, self.runtime, self.clock = config, runtime, Clock.of(config)
        self.exactness = FLOAT64 if runtime.launch.zero_stage is None else FLOAT32
        self.share = share_of(config.batch, runtime.rank, runtime.ranks)
        self.clip = config.optimiser.max_gradient_norm
        self.updates = 0

    def found(self) -> list[Found]:
        """What each rank finds, by rank; raises `InputError` where even one process diverges."""
        gradients, of_gradients = self.runtime.together(self._gradients)
        weights, of_weights = self.runtime.together(self._weights)
        gpu = self.runtime.device.type == "cuda"
        device = torch.cuda.get_device_name(self.runtime.device) if gpu else "CPU"
        digests = {"gradients": of_gradients, "weights": of_weights}
        return self.runtime.gathered(
            Found(f"{device} of {socket.gethostname()}", gradients, weights, digests)
        )

    def networks(self) -> Networks:
        """The first weights, on the device."""
        networks = Networks(self.config.model, self.config.seed)
        if self.runtime.hardware.channels_last:
            networks.to(memory_format=torch.channels_last)
        return networks.to(self.runtime.device, self.exactness.dtype)

    @cached_property
    def guide(self) -> Guide | None:
        """That of the run, where it has one; raises `InputError` where its file cannot be used."""
        guide = guide_for(self.config, self.runtime.device)
        if guide:
            guide.judge.to(self.exactness.dtype)
        return guide

    def players(self, networks: Networks) -> dict[str, BarePlayer]:
        """Those of a run; in float32 they descend plainly, whatever their rates."""
        players = bare_players(self.config, networks, guide=self.guide)
        if self.exactness is FLOAT64:
            return players
        # There, Adam would make whole steps of rounding.
        return {name: descending(each, RATE) for name, each in players.items()}

    def data(self, step: int, rows: slice = slice(None)) -> tuple[Batch, Noise]:
        """Rows of a step's batch and noise. Pictures and labels are drawn, a missing one among these."""
        size, model = self.config.batch, self.config.model
        rng = numpy_rng(self.config.seed, "selfcheck", step)
        shape = size, model.channels, model.resolution, model.resolution
        image = torch.from_numpy(rng.integers(0, 256, shape, "uint8"))
        label = torch.from_numpy(rng.integers(0, len(EXPRESSIONS), size))
        label[0] = UNLABELLED
        partner = torch.from_numpy(rng.permutation(size))
        drawn = noise(self.config.seed, step, size, model.latent_dim, rows)
        device, dtype = self.runtime.device, self.exactness.dtype
        return (
            Batch(*(each[rows].to(device) for each in (image, label, image[partner], label[partner]))),
            Noise(*(each.to(device, dtype) for each in drawn)),
        )

    def _gradients(self) -> tuple[Difference, str]:
        """How far off both objectives' gradients are on the first weights, and a digest of them.

        Those of the ranks are what a step of plain descent at the rate 1 takes from the weights.
        """
        found, expected = {}, {}
        for name in ("critics", "autoencoder"):
            bare = self.players(self.networks())[name]
            before = {key: each.detach().clone() for key, each in learning(bare.objective).items()}
            self.runtime.player(*descending(bare, 1.0), self.clip).step(*self.data(0, self.share))
            after = learning(bare.objective)
            found |= {f"{name}: {key}": each - after[key].detach() for key, each in before.items()}
            alone = Alone(self.players(self.networks()), self.clip).step(name, *self.data(0))
            expected |= {f"{name}: {key}": each for key, each in alone.items()}
        # What a bias adds to all scores alike cancels: its gradient is nothing but rounding.
        least = 1e-3 * max(float(each.abs().max()) for each in expected.values())
        return furthest(found, expected, self.exactness.gradients, least), digest(found)

    def _weights(self) -> tuple[Difference, str]:
        """How far off the weights are after some updates of the full recipe, and a digest of them."""
        networks, others = self.networks(), self.networks()
        alone = Alone(self.players(others), self.clip)
        players = {
            name: self.runtime.player(*bare, self.clip) for name, bare in self.players(networks).items()
        }
        start = time.perf_counter()
        self._update(alone, players, 0)
        most = UPDATES if self.exactness is FLOAT64 else min(UPDATES, FEW)
        fit = SECONDS // (time.perf_counter() - start)
        self.updates = self.runtime.from_main(lambda: int(min(most, max(1, fit))))
        for update in range(1, self.updates):
            self._update(alone, players, update)
        found, expected = networks.state_dict(), others.state_dict()
        return furthest(found, expected, self.exactness.weights), digest(found)

    def _update(self, alone: Alone, players: dict[str, Player], update: int) -> None:
        """The critics' updates before one of the autoencoder, and that."""
        for step in range(update * self.clock.cycle, (update + 1) * self.clock.cycle):
            name = "autoencoder" if self.clock.is_autoencoder_turn(step) else "critics"
            alone.step(name, *self.data(step))
            players[name].step(*self.data(step, self.share))


def learning(objective: nn.Module) -> dict[str, nn.Parameter]:
    """What an objective trains, by name: not what no term of it reaches."""
    return {name: each for name, each in objective.named_parameters() if each.requires_grad}


def descending(player: BarePlayer, rate: float) -> BarePlayer:
    """The same player, by plain gradient descent."""
    return player._replace(optimiser=torch.optim.SGD(learning(player.objective).values(), rate))


def affordable(config: Config, runtime: Runtime) -> Config:
    """The config; with a small batch where a whole one would take too long, or more memory than there is.

    The small one is shared and cut into as many pieces, of two pictures each.
    """
    share = config.batch // runtime.ranks
    count = pieces(share, runtime.hardware.micro_batch)
    if share // count <= 2:
        return config
    small = dataclasses.replace(config, batch=2 * count * runtime.ranks)
    if runtime.from_main(lambda: _is_affordable(config, small, runtime)):
        return config
    runtime.hardware = dataclasses.replace(runtime.hardware, micro_batch=2)
    return small


def _is_affordable(config: Config, small: Config, runtime: Runtime) -> bool:
    """Judged from two updates with a small batch, the first of which is for warming up."""
    trial, gpu = Comparison(small, runtime), runtime.device.type == "cuda"
    alone = Alone(trial.players(trial.networks()), trial.clip)
    seconds = 0.0
    for _ in range(2):
        start = time.perf_counter()
        alone.step("critics", *trial.data(0))
        if gpu:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
    times = (config.batch + config.batch // runtime.ranks) / small.batch
    if gpu and torch.cuda.max_memory_allocated() * times > torch.cuda.mem_get_info()[0]:
        return False
    return seconds * times * trial.clock.cycle < SECONDS / 2
