"""What a run leaves behind: lines of measurements, snapshots with their grids, states."""

import socket
from functools import partial
from typing import Any

import numpy as np
import torch

from fes.clock import Clock
from fes.config import Config
from fes.data.mixture import Mixture
from fes.data.reading import OnBadSample
from fes.data.stream import Stream
from fes.errors import DamagedSample, InputError
from fes.evaluation.in_loop import InLoop
from fes.model.ema import Ema
from fes.photographs.synthesizer import all_expressions
from fes.pictures import sheet, write_picture
from fes.report import Report
from fes.runtime.processes import Runtime
from fes.saved.snapshot import save_snapshot, snapshot_path
from fes.saved.state import Parts, save_state
from fes.training.plan import warnings_about
from fes.training.watch import Watch, hold, unlike
from shards.index import Split, spread


class Recorder:
    """The trainer's hooks, on every rank; files and words come from the main one. A context manager."""

    def __init__(
        self,
        config: Config,
        runtime: Runtime,
        parts: Parts,
        ema: Ema,
        mixture: Mixture,
        stream: Stream,
        start: int,
        evaluation: InLoop | None = None,
    ) -> None:
        """`evaluation` measures snapshots, on the main rank; None: they are not measured."""
        self.config, self.runtime, self.parts, self.ema = config, runtime, parts, ema
        self.mixture, self.stream = mixture, stream
        self.evaluation = evaluation
        self.clock, self.watch = Clock.of(config), Watch(config)
        self.compared: dict[str, Any] | None = None
        """What the players keep at this step, once ranks were compared there."""
        self.damaged: set[tuple[int, int]] = set()
        self.report, fault = None, None
        if runtime.is_main:
            try:
                self.faces = torch.from_numpy(_faces(config, mixture)).to(runtime.device)
                self.report = Report(config.run, config.clock.total_kimg, self.clock.kimg(start))
            except InputError as error:
                fault = error
        runtime.agree(fault)

    def __enter__(self) -> "Recorder":
        if self.report:
            self.report.__enter__()
        for warning in warnings_about(self.mixture, self.config.model):
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
        """Whether any rank was asked to stop."""
        self.compared = None  # what players keep is large, and of the step before
        return self.runtime.stopping(step)

    def tick(self, step: int, measurements: dict[str, float]) -> None:
        """Tells the measurements, and as `data/skipped` how often all ranks skipped a sample.

        Raises `InputError`, on all ranks alike, once too many different samples were skipped, or where the
        measurements are those of no healthy run.
        """
        news = self.stream.damaged - self.damaged
        skips = self.runtime.gathered((self.stream.skipped, self.stream.last_skipped, news))
        self.damaged = self.damaged.union(*(found for _, _, found in skips))
        if self.report:
            skipped = sum(count for count, _, _ in skips)
            self.report.tick(self.clock.kimg(step), {**measurements, "data/skipped": skipped})
        self.runtime.agree(self.watch.fault(self.clock.kimg(step), measurements))
        if told := self.watch.warning(self.clock.kimg(step), measurements):
            self.say(f"warning: {told}")
        most = self.config.stream.most_bad_samples
        if len(self.damaged) > most:
            self.state(step)
            last = next(last for count, last, _ in skips if count)
            told = (
                f"{len(self.damaged)} samples are damaged and were skipped, more than "
                f"--stream.most-bad-samples {most} (the run is saved, the same command goes on); the last of "
                f"them: {last}"
            )
            self.runtime.agree(InputError(told))

    def lost(self, step: int) -> None:
        """Saves all that one process knows. Of several the others are in the midst of the step by now, and
        would have no part in it: they go on from the state before.

        Raises as `state` does.
        """
        if self.runtime.ranks == 1:
            self.state(step)

    def _compare(self, step: int) -> None:
        """Raises `InputError` where ranks hold other weights than others, or such as are not finite."""
        if self.compared:
            return
        weights = {"networks": self.parts.networks, "average": self.parts.average}
        with self.runtime.exchange():
            players = {name: player.state_dict() for name, player in self.parts.keepers.items()}
        held = self.runtime.gathered(hold(socket.gethostname(), weights, players))
        self.runtime.agree(unlike(self.clock.kimg(step), held))
        self.compared = players

    def snapshot(self, step: int) -> None:
        """Writes the average and a grid of its faces, and measures it.

        Raises `InputError`, on all ranks, where their weights differ or the folder cannot be written.
        """
        self._compare(step)
        self.runtime.from_main(partial(self._save_snapshot, self.clock.kimg(step)))

    def _save_snapshot(self, kimg: float) -> None:
        path = snapshot_path(self.config.run, kimg)
        guide = self.parts.keepers.get("guide")
        save_snapshot(
            path, self.ema, self.config, kimg, self.mixture.summary(), guide.sha256 if guide else ""
        )
        average = self.ema.average
        draw = partial(all_expressions, average["encoder"], average["generator"])
        # One by one: a GPU beside whose steps they are drawn may have no room for all at once.
        rows = torch.cat([draw(face) for face in self.faces.split(1)])
        grid = sheet(rows.cpu().numpy())
        write_picture(grid, self.config.run / "grids" / f"grid-{kimg:010.3f}.png")
        self.report.grid(kimg, grid)
        if self.evaluation:
            measured = self.evaluation.measure(path, kimg, average["encoder"], average["generator"])
            self.report.figures(kimg, measured.logged)
            self.say(f"kimg {kimg:.1f}: {measured.sentence}")

    def state(self, step: int) -> None:
        """Writes all that going on needs.

        Raises `InputError`, on all ranks, where their weights differ or the folder cannot be written.
        """
        self._compare(step)
        write = partial(save_state, self.config.run, self.parts, self.compared)
        about = {"config": self.config, "fingerprint": self.mixture.fingerprint}
        self.runtime.from_main(partial(write, step=step, kimg=self.clock.kimg(step), **about))


def _faces(config: Config, mixture: Mixture) -> np.ndarray:
    shape = config.model.resolution, config.model.channels
    return grid_faces(mixture, config.grid_faces, *shape, config.stream.on_bad_sample)


def grid_faces(
    mixture: Mixture, count: int, resolution: int, channels: int, on_bad_sample: OnBadSample = "fail"
) -> np.ndarray:
    """Faces held out of training, where there are any: equally many of each set, evenly spread over it.

    A damaged one gives way to the next that is sound, where such are skipped. Returns uint8 [at most
    `count`, channels, resolution, resolution].

    Raises InputError where one cannot be read and is not to be skipped, or none can.
    """
    splits = mixture.held_out(("valid", "test"), resolution, channels)
    splits = splits or mixture.parts(resolution, channels)
    shares = [len(range(turn, count, len(splits))) for turn in range(len(splits))]
    return np.stack(
        [
            _face(split, position, on_bad_sample == "skip")
            for split, share in zip(splits, shares, strict=True)
            for position in spread(split.samples, share).tolist()
        ]
    )


def _face(split: Split, position: int, skip: bool) -> np.ndarray:
    for tried in range(split.samples):
        try:
            return split.image((position + tried) % split.samples)
        except DamagedSample:
            if not skip or tried + 1 == split.samples:
                raise
    raise AssertionError("a split has samples")
