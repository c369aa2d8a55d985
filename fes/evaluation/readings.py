"""What is measured of each synthesised face, before it is summed up."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn

from fes.evaluation.faces import Faces
from fes.evaluation.identity import Embedder
from fes.evaluation.regions import changes
from fes.evaluation.similarity import absolute_error, structural_similarity
from fes.expressions import EXPRESSIONS, UNLABELLED
from fes.judge import Judge
from fes.photographs.synthesizer import synthesize

FACES = 32
"""Faces that are drawn at once, with all expressions."""
PICTURES = 256
"""Pictures that are read at once."""

Draw = Callable[[Tensor], Tensor]
"""Faces, uint8 [faces, channels, height, width] -> each with all expressions, [faces, classes, ...]."""


@dataclass(frozen=True)
class Instruments:
    """What faces are measured with; judges and networks are on the device."""

    judge: Judge
    second: Judge | None
    """Another judge, whom a pattern that fools the first one does not fool."""
    embedder: Embedder
    device: torch.device

    def read(self, ask: Callable[[Tensor], Tensor], image: Tensor) -> np.ndarray:
        """What a judge says of uint8 [batch, channels, height, width], one of its methods being asked."""
        return torch.cat([ask(part.to(self.device)).cpu() for part in image.split(PICTURES)]).numpy()

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """What the judge's last layer makes of its features, [..., features] -> [..., classes]."""
        return self.judge.classify(torch.from_numpy(features).to(self.device)).softmax(-1).cpu().numpy()


def drawer(encoder: nn.Module, generator: nn.Module, device: torch.device) -> Draw:
    """Draws on a device."""

    def draw(image: Tensor) -> Tensor:
        there = image.to(device)
        labels = [torch.full((len(image),), label, device=device) for label in range(len(EXPRESSIONS))]
        return torch.stack([synthesize(encoder, generator, there, label) for label in labels], 1).cpu()

    return draw


def read_faces(
    faces: Faces, which: slice, drawn: Tensor, instruments: Instruments, in_gallery: np.ndarray
) -> dict[str, np.ndarray]:
    """The readings of some faces: arrays whose first axis are the faces, NaN where something is unknown.

    Args:
        drawn: uint8 [faces, classes, channels, height, width].
        in_gallery: bool [all faces], whose synthesised faces are looked for in a gallery.
    """
    source, label = faces.held.image[which], faces.held.label[which]
    pairs = _pairs(source, drawn)

    def read(ask: Callable[[Tensor], Tensor]) -> np.ndarray:
        return _by_face(instruments.read(ask, _flat(drawn)), drawn)

    features = read(instruments.judge.features)
    readings = {
        "features": features,
        "probability": instruments.probabilities(features),
        **_own_expression(source, drawn, label),
    }
    if instruments.second:
        readings["second"] = read(instruments.second.read)

    def embed(image: Tensor) -> np.ndarray:
        return _by_face(instruments.embedder.embed(_flat(image)), image)

    chosen = torch.from_numpy(in_gallery[which])
    wanted = drawn[chosen]
    if len(wanted):
        readings["embedding"] = embed(wanted)
    inside, outside = (_by_face(each.numpy(), drawn) for each in changes(*pairs))
    readings |= {"inside": inside, "outside": outside}
    if faces.truth:
        true, there = faces.truth(which)
        readings |= _against_truth(drawn, pairs[0], true, there)
        if len(wanted) and there.all():
            readings["true_embedding"] = embed(true[chosen])
    return readings


def _own_expression(source: Tensor, drawn: Tensor, label: Tensor) -> dict[str, np.ndarray]:
    """How near a face that is drawn with its own expression comes to the source; NaN without a label."""
    own = drawn[torch.arange(len(drawn)), label.clamp_min(0)]
    found = {"l1": absolute_error(own, source), "ssim": structural_similarity(own, source)}
    return {name: value.where(label != UNLABELLED, torch.nan).numpy() for name, value in found.items()}


def _against_truth(drawn: Tensor, copies: Tensor, true: Tensor, there: Tensor) -> dict[str, np.ndarray]:
    found = {"truth": absolute_error(_flat(drawn), _flat(true)), "copy": absolute_error(copies, _flat(true))}
    known = there.flatten()
    return {name: _by_face(value.where(known, torch.nan).numpy(), drawn) for name, value in found.items()}


def _pairs(source: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
    """Each synthesised face and its source, one below the other."""
    return source.repeat_interleave(drawn.shape[1], 0), _flat(drawn)


def _flat(drawn: Tensor) -> Tensor:
    return rearrange(drawn, "f e c h w -> (f e) c h w")


def _by_face(values: np.ndarray, drawn: Tensor) -> np.ndarray:
    return values.reshape(*drawn.shape[:2], *values.shape[1:])
