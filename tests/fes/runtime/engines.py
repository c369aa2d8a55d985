"""What one rank does in the tests of DeepSpeed's engines."""

import copy
import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from fes.batch import Batch
from fes.config import LossConfig, ModelConfig
from fes.data.stream import share_of
from fes.draws import noise
from fes.hardware import Hardware
from fes.learning.objectives import AutoencoderObjective, CriticObjective
from fes.model.networks import Networks
from fes.runtime import engine
from fes.runtime.processes import Runtime

MODEL = ModelConfig(
    resolution=48, channels=1, latent_dim=8, max_features=32, min_features=8, latent_critic_features=16
)
BATCH, STEPS, HALF = 16, 6, 3
MICRO_BATCH = 4  # two pieces of each of two ranks' share
MAX_NORM = 0.5  # gradients are longer
STAGES = 0, 1, 2

Make = Callable[[nn.Module, torch.optim.Optimizer], Any]
Named = Iterable[tuple[str, Tensor]]
Optimisers = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


def descent(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Without a memory: weights tell gradients."""
    return torch.optim.SGD(parameters, lr=1e-2)


def smooth_adam(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """With a memory, and with so large an epsilon that it does not make much of small differences."""
    return torch.optim.Adam(parameters, lr=1e-3, betas=(0.5, 0.9), eps=1e-2)


class Game:
    """The two players, on pictures of noise: two steps of the critics before each of the autoencoder."""

    def __init__(self, make: Make, optimisers: Optimisers, rank: int = 0, ranks: int = 1) -> None:
        self.share = share_of(BATCH, rank, ranks)
        self.networks = Networks(MODEL, seed=0)
        weights = LossConfig(expression_weight=1.0)  # so that every weight gets a gradient
        self.objectives = {
            "critics": CriticObjective(self.networks, weights),
            "autoencoder": AutoencoderObjective(self.networks, weights),
        }
        self.players = {
            name: make(objective, optimisers(objective.parameters()))
            for name, objective in self.objectives.items()
        }

    def play(self, first: int, end: int) -> "Game":
        """Takes the steps from `first` to before `end`; the idle player has to stay as it is."""
        for step in range(first, end):
            turn, idle = ("autoencoder", "critics") if step % 3 == 2 else ("critics", "autoencoder")
            before = copy.deepcopy(self.objectives[idle].state_dict())
            drawn = noise(0, step, BATCH, MODEL.latent_dim, self.share)
            self.players[turn].step(batch_of(step, self.share), drawn)
            assert all(torch.equal(before[k], v) for k, v in self.objectives[idle].state_dict().items())
        return self

    def state(self) -> dict[str, Any]:
        players = {name: player.state_dict() for name, player in self.players.items()}
        return copy.deepcopy({"players": players, "networks": self.networks.state_dict()})

    def restore(self, state: dict[str, Any]) -> "Game":
        """In the order in which a run does it."""
        for name, player in self.players.items():
            player.load_state_dict(copy.deepcopy(state["players"][name]))  # torch takes the very tensors
        self.networks.load_state_dict(state["networks"])
        return self


def batch_of(step: int, share: slice) -> Batch:
    """A rank's share of a step's batch."""
    rng = torch.Generator().manual_seed(step)
    order = torch.randperm(BATCH, generator=rng)
    image = torch.randint(256, (BATCH, 1, 48, 48), generator=rng, dtype=torch.uint8)
    label = torch.randint(7, (BATCH,), generator=rng)
    return Batch(image[share], label[share], image[order][share], label[order][share])


def compare_stages(out: Path) -> None:
    """Plays in each stage, in several ways, and saves this rank's weights at the end of each, by way.

    `one.pt` in `out` is the state of one process in the middle; ranks leave there theirs of each stage, and
    in `refused.txt` why they would not take DeepSpeed's own clipping.
    """
    runtime = Runtime()
    found = dict(ways_of_ddp(runtime))
    for stage in STAGES:
        found |= {f"{stage}/{name}": value for name, value in ways_of_engines(runtime, stage, out)}
    save_file(found, out / f"rank{runtime.rank}.safetensors")
    (out / "refused.txt").write_text(refusal_of_deepspeeds_own_clipping(runtime))
    runtime.close()


def game(
    runtime: Runtime,
    optimisers: Optimisers,
    stage: int | None,
    max_norm: float | None = None,
    precision: str = "no",
) -> Game:
    """The players of several ranks; without DeepSpeed where the stage is None."""
    runtime.launch = dataclasses.replace(runtime.launch, zero_stage=stage, precision=precision)
    return Game(lambda *both: runtime.player(*both, max_norm), optimisers, runtime.rank, runtime.ranks)


def ends(way: str, played: Game) -> Named:
    """way/weight -> its value, now."""
    return [(f"{way}/{name}", value.clone()) for name, value in played.networks.state_dict().items()]


def ways_of_ddp(runtime: Runtime) -> Named:
    yield from ends("ddp/descent", game(runtime, descent, None).play(0, STEPS))
    yield from ends("ddp/bf16", game(runtime, descent, None, precision="bf16").play(0, STEPS))


def ways_of_engines(runtime: Runtime, stage: int, out: Path) -> Named:
    yield from ends("descent", game(runtime, descent, stage).play(0, STEPS))
    yield from ends("bf16", game(runtime, descent, stage, precision="bf16").play(0, STEPS))
    yield from ends("clipped", game(runtime, descent, stage, MAX_NORM).play(0, STEPS))
    runtime.hardware = Hardware(micro_batch=MICRO_BATCH)
    yield from ends("in pieces", game(runtime, descent, stage).play(0, STEPS))
    runtime.hardware = Hardware()

    whole = game(runtime, smooth_adam, stage).play(0, HALF)
    half = whole.state()
    if runtime.is_main:
        torch.save(half, out / f"stage{stage}.pt")
    one = torch.load(out / "one.pt", weights_only=True)
    yield from ends("adam", whole.play(HALF, STEPS))
    for way, to, state in (
        ("adam, resumed", stage, half),
        ("adam, then ddp", None, half),
        ("adam, after one process", stage, one),
    ):
        yield from ends(way, game(runtime, smooth_adam, to).restore(state).play(HALF, STEPS))


def refusal_of_deepspeeds_own_clipping(runtime: Runtime) -> str:
    """What is said where the settings do not speak of clipping, as if DeepSpeed did not heed them."""
    settings = engine._settings
    engine._settings = lambda *about: {
        key: value for key, value in settings(*about).items() if key != "gradient_clipping"
    }
    try:
        game(runtime, descent, 0)
    except AssertionError as error:
        return str(error)
    return "nothing"
