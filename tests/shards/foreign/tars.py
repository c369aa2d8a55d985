"""Shards as others make them with webdataset, and what their index and report hold."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import webdataset
from PIL import Image

from shards.index import ShardIndex, Split
from shards.schema import REPORT_NAME


def picture(number: int, kind: str = "PNG", width: int = 24, height: int = 16, mode: str = "RGB") -> bytes:
    """A picture file, another one for every number."""
    values = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).convert(mode).save(buffer, kind)
    return buffer.getvalue()


def write_tar(path: Path, samples: Sequence[Mapping[str, object]], **options: object) -> Path:
    """A shard as webdataset writes it, with the keys 0, 1, ... where samples have none; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with webdataset.TarWriter(str(path), encoder=False, **options) as writer:
        for number, sample in enumerate(samples):
            members = {ending: as_bytes(value) for ending, value in sample.items() if ending != "__key__"}
            writer.write({"__key__": sample.get("__key__", f"{number:09d}"), **members})
    return path


def as_bytes(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()


def found(out: Path) -> dict[str, list[str]]:
    report = json.loads((out / REPORT_NAME).read_text())
    return {finding["reason"]: finding["origins"] for finding in report["findings"]}


def labels(out: Path, split: str = "train") -> list[int]:
    return ShardIndex.load(out).split(split).labels.tolist()


def samples_of(split: Split) -> list[tuple[bytes, bytes, int]]:
    return [
        (split.read(at, "image"), split.read(at, "details"), int(split.labels[at]))
        for at in range(split.samples)
    ]
