"""Lets a trained judge give classes to pictures that have none."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fes.errors import InputError
from fes.expressions import EXPRESSIONS, UNLABELLED
from shards.build.gather import Gathered
from shards.pictures import decode_picture
from shards.schema import Crop, Progress, Sample

if TYPE_CHECKING:
    from fes.judge import Judge

BATCH = 256


class JudgeLabeller:
    """Gives the class that a judge reads in a picture, where it is confident enough.

    The details of every picture that was read say what the judge saw: `judge_class`, and
    `judge_confidence`, the probability in 0..1 that it gives that class.
    """

    def __init__(self, weights: Path, confidence: float) -> None:
        """Raises InputError where `weights` is no judge, or `confidence` not in 0..1."""
        if not 0 <= confidence <= 1:
            raise InputError(f"--confidence is a probability between 0 and 1, not {confidence}")
        from fes.judge import load_judge  # torch takes seconds to import; few builds need it

        self.judge: Judge = load_judge(weights)
        self.confidence = confidence

    def __call__(
        self, samples: Sequence[Sample], gathered: Gathered, crop: Crop | None, progress: Progress
    ) -> list[Sample]:
        """All samples, those without a class and with a readable picture as the judge sees them."""
        labelled, unreadable = list(samples), gathered.unreadable
        asked = [at for at, each in enumerate(samples) if each.label == UNLABELLED and at not in unreadable]
        for first in range(0, len(asked), BATCH):
            part = asked[first : first + BATCH]
            for at, label, confidence in self._read(part, gathered, crop):
                labelled[at] = self._told(samples[at], label, confidence)
            progress(first + len(part), len(asked))
        return labelled

    def _read(
        self, positions: Sequence[int], gathered: Gathered, crop: Crop | None
    ) -> Iterator[tuple[int, int, float]]:
        import torch

        size = self.judge.resolution, self.judge.channels
        images = np.stack([decode_picture(gathered.picture(at), *size, crop) for at in positions])
        probability, label = self.judge.probabilities(torch.from_numpy(images)).max(1)
        yield from zip(positions, label.tolist(), probability.tolist(), strict=True)

    def _told(self, sample: Sample, label: int, confidence: float) -> Sample:
        seen = {"judge_class": EXPRESSIONS[label], "judge_confidence": round(confidence, 4)}
        given = label if confidence >= self.confidence else UNLABELLED
        return replace(sample, label=given, details=sample.details | seen)
