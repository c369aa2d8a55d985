"""The guide: a classifier of real faces, trained beforehand, that pulls synthesised ones towards the asked
expression.

It is made by `fes judge train` with noise on its pictures, is never trained any further, and is not the
judge: who grades must not have taught. Left as it is, a classifier is soon pleased by patterns that nobody
sees. Under noise it changes its mind only where people do (Cohen et al., 2019), and the slope of its answer
points at what people call that expression (Kaur et al., 2019): it sees synthesised faces through noise too.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fes.commandline.advice import ANY, judge_training, shape
from fes.config import Config
from fes.draws import torch_rng
from fes.errors import InputError
from fes.files import sha256_of
from fes.judge import Judge, load_judge
from shards.remote.addresses import PIPE

_GRAINS = 64
"""Pictures of noise, which are taken by chance and rolled by chance."""


class Guide:
    """Picture -> logits [batch, classes] of a frozen classifier that sees it through noise."""

    def __init__(self, judge: Judge, noise: float, sha256: str = "") -> None:
        """
        Args:
            judge: a trained one; it is frozen.
            noise: most noise on a picture, as a standard deviation; each has its own, from 0 to this.
            sha256: of the file it is from.
        """
        self.judge, self.noise, self.sha256 = judge.requires_grad_(False).eval(), noise, sha256
        shape = _GRAINS, judge.channels, judge.resolution, judge.resolution
        grains = torch.randn(shape, generator=torch_rng("guide"))
        self.grains = grains.to(next(judge.parameters()).device)

    def __call__(self, x: Tensor, draws: Tensor) -> Tensor:
        """Logits [batch, classes] of pictures.

        Args:
            x: [batch, channels, height, width] in [-1, 1]; of larger pictures blocks are averaged.
            draws: [batch, GUIDE_DRAWS], uniform in [0, 1): they choose the noise.
        """
        x = functional.avg_pool2d(x, x.shape[-1] // self.judge.resolution)
        return self.judge.glance(x + self._noise(draws).to(x.dtype))

    def _noise(self, draws: Tensor) -> Tensor:
        """[batch, GUIDE_DRAWS] -> [batch, channels, resolution, resolution]."""
        size = self.judge.resolution
        deviation, grain, down, across = draws.unbind(1)
        place = torch.arange(size, device=draws.device)
        rows, columns = ((place + (each * size).long()[:, None]) % size for each in (down, across))
        chosen = (grain * _GRAINS).long()[:, None, None]
        rolled = self.grains[chosen, :, rows[:, :, None], columns[:, None, :]].movedim(3, 1)
        return self.noise * deviation.reshape(-1, 1, 1, 1) * rolled

    def state_dict(self) -> dict[str, Any]:
        """Which guide it is; its weights stay in its file."""
        return {"sha256": self.sha256}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises `InputError` where the run began with another guide."""
        if state["sha256"] != self.sha256:
            raise InputError(
                "--start.guide holds another guide than the one that the run began with: take the same file, "
                "or another --run folder"
            )


def guide_for(config: Config, device: torch.device) -> Guide | None:
    """The guide of a run; None where none is asked for.

    Raises:
        InputError: its file cannot be used, or is that of a judge that grades the run.
    """
    path = config.start.guide
    if path is None:
        return None
    if not path.exists():
        raise InputError(f"--start.guide: there is no {path}: '{_training(path, config)}' makes it")
    judge, found = load_judge(path), sha256_of(path)
    _check_shape(judge, path, config)
    graders = config.evaluation.judge, config.evaluation.second_judge
    check_independent(found, *filter(None, graders))
    trained = judge.facts.config.get("noise", 0.0) if judge.facts else 0.0
    asked = config.loss.guide_noise
    return Guide(judge.to(device), trained if asked is None else asked, found)


def check_independent(guide_sha256: str, *judges: Path) -> None:
    """Raises `InputError` where one of the judges is the guide, or one of several whose sums stand side by
    side: it would find what it taught."""
    for path in judges:
        if sha256_of(path) in guide_sha256.split():
            raise InputError(
                f"{path} is the guide that the faces were trained with, and cannot grade them: train a judge "
                "with another --seed"
            )


def _check_shape(judge: Judge, path: Path, config: Config) -> None:
    model = config.model
    if model.channels != judge.channels or model.resolution % judge.resolution:
        other = path.with_name(f"{path.stem}-{model.resolution}x{model.channels}.safetensors")
        raise InputError(
            f"--start.guide {path} reads pictures of {shape(judge.resolution, judge.channels)}, and the run "
            f"draws {shape(model.resolution, model.channels)}: '{_training(other, config)}' makes one"
        )


def _training(out: Path, config: Config) -> str:
    """The command that trains a guide for a run; a command that fetches its data is not shown."""
    data, model = ANY if config.data.startswith(PIPE) else config.data, config.model
    return judge_training(out, data, model.resolution, model.channels, guide=True)
