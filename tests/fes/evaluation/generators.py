"""Generators whose right figures are known, and some that cheat. Each takes the source for its code."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fes.batch import to_float, to_uint8
from fes.evaluation.evaluator import mean_faces
from fes.evaluation.faces import Pictures
from fes.judge import Judge
from shards.drawing.faces import render
from shards.index import Split

SOURCE = nn.Identity()
"""The encoder of all of them."""


class Copy(nn.Module):
    """Shows the source, whatever is asked."""

    def forward(self, source: Tensor, label: Tensor) -> Tensor:
        return source


class Truth(nn.Module):
    """Looks up who the source shows and draws that person as asked."""

    def __init__(self, split: Split) -> None:
        super().__init__()
        self.people = {split.image(p).tobytes(): split.details(p)["numbers"] for p in range(split.samples)}

    def forward(self, source: Tensor, label: Tensor) -> Tensor:
        pictures = to_uint8(source.clone()).numpy()
        numbers = np.array([self.people[picture.tobytes()] for picture in pictures], np.float32)
        drawn = render(numbers, label.numpy(), 48, 1)
        return to_float(torch.from_numpy(drawn).permute(0, 3, 1, 2))


class MeanFace(nn.Module):
    """Draws the mean face of the class for everybody."""

    def __init__(self, pictures: Pictures) -> None:
        super().__init__()
        self.faces = to_float(mean_faces(pictures))

    def forward(self, source: Tensor, label: Tensor) -> Tensor:
        return self.faces[label]


class Adversary(nn.Module):
    """Adds to each face a faint pattern by which one judge reads what is asked."""

    def __init__(self, judge: Judge, strength: float = 14 / 127.5, steps: int = 6) -> None:
        """The pattern stays within +-strength, and is found in so many steps along its gradient's sign."""
        super().__init__()
        self.judge, self.strength, self.steps = judge, strength, steps

    def forward(self, source: Tensor, label: Tensor) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            x, label = source.clone(), label.clone()
            pattern = torch.zeros_like(x, requires_grad=True)
            for _ in range(self.steps):
                loss = functional.cross_entropy(self.judge((x + pattern).clamp(-1, 1)), label)
                (slope,) = torch.autograd.grad(loss, pattern)
                with torch.no_grad():
                    pattern -= 2 * self.strength / self.steps * slope.sign()
                    pattern.clamp_(-self.strength, self.strength)
            return (x + pattern).detach()
