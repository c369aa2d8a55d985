"""What a run leaves behind: lines of measurements, snapshots with their grids, states."""

from typing import Any

import numpy as np
import torch

from fes.clock import Clock
from fes.config import Config
from fes.ema import Ema
from fes.pictures import sheet, write_picture
from fes.plan import warnings_about
from fes.report import Report
from fes.runtime import Runtime
from fes.snapshot import save_snapshot, snapshot_path
from fes.state import Parts, save_state
from fes.synthesizer import all_expressions
from shards.index import ShardIndex


class Recorder:
    """The trainer's hooks, on every rank; files and words come from the main one. A context manager."""

    def __init__(
        self, config: Config, runtime: Runtime, parts: Parts, ema: Ema, index: ShardIndex, start: int
    ) -> None:
        self.config, self.runtime, self.parts, self.ema, self.index = config, runtime, parts, ema, index
        self.clock = Clock.of(config)
        self.faces = torch.from_numpy(grid_faces(index, config.grid_faces)).to(runtime.device)
        self.report = None
        if runtime.is_main:
            self.report = Report(config.run, config.clock.total_kimg, self.clock.kimg(start))

    def __enter__(self) -> "Recorder":
        if self.report:
            self.report.__enter__()
        for warning in warnings_about(self.index):
            self.say(f"warning: {warning}")
        return self

    def __exit__(self, *error: Any) -> None:
        if self.report:
            self.report.__exit__(*error)

    def say(self, sentence: str) -> None:
        """Tells the user something, once."""
        if self.report:
            self.report.say(sentence)

    def stopping(self, step: int) -> bool:
        return self.runtime.stopping(step)

    def tick(self, step: int, measurements: dict[str, float]) -> None:
        if self.report:
            self.report.tick(self.clock.kimg(step), measurements)

    def snapshot(self, step: int) -> None:
        if self.report:
            kimg = self.clock.kimg(step)
            path = snapshot_path(self.config.run, kimg)
            save_snapshot(path, self.ema, self.config, kimg, data_summary(self.index))
            average = self.ema.average
            rows = all_expressions(average["encoder"], average["generator"], self.faces)
            grid = sheet(rows.cpu().numpy())
            write_picture(grid, self.config.run / "grids" / f"grid-{kimg:010.3f}.png")
            self.report.grid(kimg, grid)
        self.runtime.wait()

    def state(self, step: int) -> None:
        if self.report:
            save_state(
                self.config.run,
                self.parts,
                step=step,
                kimg=self.clock.kimg(step),
                config=self.config,
                fingerprint=self.index.fingerprint,
            )
        self.runtime.wait()


def data_summary(index: ShardIndex) -> dict[str, Any]:
    """What a snapshot tells of the data it was trained on."""
    return {
        "source": index.source,
        "fingerprint": index.fingerprint,
        "train": index.counts("train"),
    }


def grid_faces(index: ShardIndex, count: int) -> np.ndarray:
    """Held-out faces, evenly spread over their split: uint8 [count, channels, height, width]."""
    held_out = next(name for name in ("valid", "test", "train") if name in index.splits)
    split = index.split(held_out)
    places = np.linspace(0, split.samples - 1, min(count, split.samples)).round().astype(int)
    return np.stack([split.image(int(place)) for place in places])
