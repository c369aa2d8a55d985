"""The command line of `fes bench`."""

import json
import math
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import torch
import tyro

from fes.bench.measure import measure
from fes.bench.peak import peak_flops
from fes.bench.plot import check_plotting, draw_rates
from fes.config import Config, ModelConfig
from fes.config.validity import check, check_features, check_resolution, check_shape
from fes.errors import InputError, NoRoom
from fes.files import make_folder
from fes.hardware import Hardware, check_hardware
from fes.machine import cores
from fes.report import progress, show_table
from fes.runtime.precision import DTYPES, describe_numbers
from fes.runtime.processes import NOT_REPLAYED, Runtime

_COLUMNS = (
    "px",
    "images/s",
    "s/kimg",
    "step alone, images/s",
    "a reader, images/s",
    "peak GiB",
    "share of peak",
)


_TOLD = ("batch", "critic_steps", "channels", "blocks", "skip", "max_features", "min_features")
"""Options that the results are told with."""


@dataclass(frozen=True)
class Bench:
    """Measure how fast this machine trains: the trainer on drawn faces, its step and a reader alone.

    The precision is ACCELERATE_MIXED_PRECISION's (no, bf16 or fp16), as for train.py."""

    resolutions: tuple[int, ...] = (48, 64, 128)
    """Heights and widths of the pictures."""
    channels: int = 1
    """1 for grey, 3 for RGB."""
    batch: int = 32
    """Pictures per batch."""
    critic_steps: int = 5
    """Updates of the critics for each update of the autoencoder."""
    seconds: float = 10.0
    """For each thing that is measured."""
    out: Path = Path("bench/results")
    """Folder for bench.jsonl, to which a line is added for each resolution, and bench.png."""
    blocks: Literal["strided", "residual"] = ModelConfig.blocks
    """What the networks are made of, as train.py's --model.blocks."""
    skip: Literal["none", "features", "residual", "mask", "warp"] = ModelConfig.skip
    """What reaches the generator besides z, as --model.skip."""
    max_features: int = ModelConfig.max_features
    """Feature maps at the coarsest resolution."""
    min_features: int = ModelConfig.min_features
    """Feature maps are never fewer than this."""
    hardware: tyro.conf.OmitArgPrefixes[Hardware] = field(default_factory=Hardware)

    def run(self) -> None:
        configs = self._configs()
        check_plotting()
        make_folder(self.out)
        with Runtime(self.hardware) as runtime:
            if runtime.ranks > 1:
                raise InputError("fes bench measures one process: start it without a launcher")
            if self.hardware.replay and not runtime.replays:
                print(NOT_REPLAYED)
            results = self._measured(configs, runtime)
            self._show(results, describe_numbers(runtime.launch.precision, self.hardware, runtime.device))

    def _configs(self) -> list[Config]:
        """One for each resolution, once all that is asked for makes sense."""
        check_hardware(self.hardware)
        if not self.resolutions:
            raise InputError("--resolutions names none: give at least one, as 48")
        if not 0 < self.seconds < math.inf:
            raise InputError(f"--seconds is {self.seconds}: it must be a positive number")
        check_shape(None, self.channels)
        check_features(self.max_features, self.min_features)
        return [self._config(each) for each in self.resolutions]

    def _measured(self, configs: list[Config], runtime: Runtime) -> list[dict[str, object]]:
        about, peak = _about(runtime, self), peak_flops(runtime.device, DTYPES[runtime.launch.precision])
        about |= {f"peak_{name}_flops": value for name, value in peak.items()}
        results = []
        with progress("bench") as tell:
            for number, config in enumerate(configs, start=1):
                found = self._found(config, runtime)
                share = found["flops_per_second"] / max(peak.values())
                results.append({**about, "resolution": config.model.resolution, **found, "share": share})
                self._keep(results[-1])
                tell(number, len(configs))
        return results

    def _found(self, config: Config, runtime: Runtime) -> dict[str, float]:
        try:
            return measure(config, runtime, self.seconds)
        except NoRoom as error:
            raise InputError(
                f"the GPU has no room for {error.pictures} pictures of {config.model.resolution} px at once: "
                "take a smaller --micro-batch, or smaller networks (--max-features)"
            ) from None

    def _config(self, resolution: int) -> Config:
        check_resolution(resolution, "--resolutions")
        model = ModelConfig(
            resolution,
            self.channels,
            max_features=self.max_features,
            min_features=self.min_features,
            blocks=self.blocks,
            skip=self.skip,
        )
        return check(Config("", Path(), batch=self.batch, critic_steps=self.critic_steps, model=model))

    def _keep(self, result: dict[str, object]) -> None:
        with (self.out / "bench.jsonl").open("a") as file:
            file.write(json.dumps(result) + "\n")

    def _show(self, results: list[dict[str, object]], numbers: str) -> None:
        about = results[0]
        computes = f"{about['device']}, torch {about['torch']}, {numbers}"
        print(f"{computes}, {about['readers']} processes that read ahead")
        show_table(_COLUMNS, [_row(each) for each in results])
        draw_rates(self.out / "bench.png", results)
        print(f"wrote {self.out}/bench.jsonl and bench.png")


def _row(found: dict[str, float]) -> tuple[str, ...]:
    return (
        f"{found['resolution']}",
        f"{found['images_per_second']:,.0f}",
        f"{found['seconds_per_kimg']:.2f}",
        f"{found['step_images_per_second']:,.0f}",
        f"{found['loader_images_per_second']:,.0f}",
        f"{found['peak_gib']:.2f}",
        f"{found['share']:.1%}",
    )


def _about(runtime: Runtime, asked: Bench) -> dict[str, object]:
    """What was measured, and on what; of the hardware's settings, what has an effect here."""
    gpu = runtime.device.type == "cuda"
    return {
        "time": datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds"),
        "device": torch.cuda.get_device_name(runtime.device) if gpu else f"{cores()} CPU cores",
        "threads": torch.get_num_threads(),
        "readers": runtime.readers(None),
        "torch": version("torch"),
        "precision": runtime.launch.precision,
        **{name: getattr(asked, name) for name in _TOLD},
        "hardware": asdict(asked.hardware) | {"replay": runtime.replays, "tf32": asked.hardware.tf32 and gpu},
    }
