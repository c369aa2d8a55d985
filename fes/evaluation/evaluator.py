"""Measures an encoder and a generator on held-out faces; what does not depend on them is measured once."""

import time
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fes.batch import to_float
from fes.evaluation.eigenfaces import Eigenfaces
from fes.evaluation.faces import Faces, Pictures
from fes.evaluation.figures import (
    Figures,
    change_figures,
    dealt,
    expression_figures,
    identity_figures,
    judge_figures,
    leak_figures,
    natural_figures,
    reconstruction_figures,
    truth_figures,
)
from fes.evaluation.identity import Embedder, gallery_of
from fes.evaluation.readings import FACES, Instruments, drawer, read_faces
from fes.evaluation.score import score
from fes.expressions import EXPRESSIONS
from fes.judge import Judge

COMPONENTS, MOST_COMPONENTS = 64, 256
"""Eigenfaces that tell people apart, and that are made at all, to be compared with a code of that length."""
SHOWN = 10
"""Faces on the sheet of an evaluation."""


class Evaluator:
    """Judges, an embedder and the faces, for any number of snapshots of one shape."""

    def __init__(
        self,
        faces: Faces,
        judge: Judge,
        second: Judge | None = None,
        embedder: Embedder | None = None,
        gallery: int = 100,
        device: torch.device | str = "cpu",
        inception: Callable[[Tensor, Tensor], Figures] | None = None,
    ) -> None:
        """
        Args:
            second: another judge, None: its figures are left out.
            embedder: tells people apart; None: eigenfaces of training pictures.
            gallery: most people among whom the right one is looked for.
            device: where faces are drawn and judged.
            inception: more figures, from synthesised and real pictures, uint8 [n, channels, height, width].

        Raises:
            InputError: a judge reads pictures of another shape than the faces have.
        """
        for each in filter(None, (judge, second)):
            each.check_shape(faces.held.image.shape[-1], faces.held.image.shape[1])
        self.faces, self.embedder, self.device = faces, embedder, torch.device(device)
        self.judge, self.second = judge.to(device), second and second.to(device)
        self.inception = inception
        self._half = len(faces.held.label) // 2
        """Those before are drawn for naturalness, and compared with the others."""
        self._gallery = gallery_of(faces.person[: faces.count], gallery)

    @torch.inference_mode()
    def evaluate(
        self,
        encoder: nn.Module,
        generator: nn.Module,
        seconds: float = float("inf"),
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> tuple[Figures, Tensor]:
        """Measures two networks that are on the device.

        Args:
            seconds: after so many no more faces are begun.
            progress: called with the number of faces done, and of all.

        Returns:
            The figures (docs/evaluation.md explains each), and the first faces, each with its expressions:
            uint8 [faces, 1 + classes, channels, height, width].
        """
        begun = time.monotonic()
        in_gallery = np.isin(np.arange(self.faces.count), self._gallery)
        draw, parts, shown, kept = drawer(encoder, generator, self.device), [], [], []
        count = 0
        while count < self.faces.count and (not parts or time.monotonic() - begun < seconds):
            which = slice(count, min(count + FACES, self.faces.count))
            drawn = draw(self.faces.held.image[which])
            parts.append(read_faces(self.faces, which, drawn, self._instruments, in_gallery))
            if count < SHOWN:
                shown.append(torch.cat([self.faces.held.image[which, None], drawn], 1))
            if self.inception and count < self._half:
                kept.append(drawn)
            count = which.stop
            progress(count, self.faces.count)
        figures = self._figures(joined(parts), self._codes(encoder))
        if self.inception:
            figures |= self._by_inception(torch.cat(kept))
        facts = {"faces": count, "faces_asked": self.faces.count, "seconds": time.monotonic() - begun}
        return {**facts, **score(figures), **figures}, torch.cat(shown)[:SHOWN]

    def _figures(self, readings: dict[str, np.ndarray], code: np.ndarray) -> Figures:
        real, label = self._real, self.faces.held.label.numpy()
        count = len(readings["probability"])
        figures = expression_figures(readings, label[:count]) | judge_figures(real["told"], label)
        if self.second:
            figures |= judge_figures(real["second"], label, "second_")
        found = readings["embedding"]
        figures |= identity_figures(found, real["gallery"][: len(found)], readings.get("true_embedding"))
        figures |= reconstruction_figures(readings) | change_figures(readings)
        pixels = self._eigenfaces.coordinates(self.faces.held.image)[:, : code.shape[1]]
        figures |= leak_figures(code, pixels, label, self.faces.person) | truth_figures(readings)
        return figures | self._natural(readings["features"])

    def _natural(self, drawn: np.ndarray) -> Figures:
        real, label = self._real, self.faces.held.label[: min(len(drawn), self._half)].numpy()
        faces, asked = dealt(label)
        features = real["features"][np.sort(faces)], real["mean_face"][asked], real["features"][self._half :]
        return natural_figures(drawn[faces, asked], *features)

    def _by_inception(self, drawn: Tensor) -> Figures:
        faces, asked = dealt(self.faces.held.label[: min(len(drawn), self._half)].numpy())
        return self.inception(drawn[faces, asked], self.faces.held.image[self._half :])

    def _codes(self, encoder: nn.Module) -> np.ndarray:
        """z of all held-out faces, [faces, latent_dim]."""
        codes = [encoder(to_float(part.to(self.device))) for part in self.faces.held.image.split(FACES)]
        return torch.cat([getattr(code, "z", code).flatten(1) for code in codes]).float().cpu().numpy()

    @cached_property
    def _eigenfaces(self) -> Eigenfaces:
        return Eigenfaces.fit(self.faces.trained.image, MOST_COMPONENTS)

    @cached_property
    def _instruments(self) -> Instruments:
        embedder = self.embedder or self._eigenfaces.first(COMPONENTS)
        return Instruments(self.judge, self.second, embedder, self.device)

    @cached_property
    def _real(self) -> dict[str, Any]:
        """The readings of real pictures."""
        image, read = self.faces.held.image, self._instruments.read
        return {
            "told": read(self.judge.read, image),
            "second": read(self.second.read, image) if self.second else None,
            "features": read(self.judge.features, image),
            "gallery": self._instruments.embedder.embed(image[self._gallery]),
            "mean_face": read(self.judge.features, mean_faces(self.faces.trained)),
        }


def mean_faces(pictures: Pictures) -> Tensor:
    """The mean picture of each class, uint8 [classes, ...]; that of all where nobody is of the class."""
    chosen = [pictures.label == label for label in range(len(EXPRESSIONS))]
    means = [pictures.image[each if each.any() else slice(None)].double().mean(0) for each in chosen]
    return torch.stack(means).round().to(torch.uint8)


def joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The readings of all parts; a part may lack some."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: np.concatenate([part[name] for part in parts if name in part]) for name in names}
