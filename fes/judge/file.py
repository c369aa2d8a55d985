"""The file of a judge: its weights as safetensors, and what to know of them in the metadata."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fes.config.validity import check_shape
from fes.errors import InputError
from fes.expressions import EXPRESSIONS
from fes.files import sha256_of, write_file
from fes.judge.network import KINDS, Facts, Judge

FORMAT = "fes-judge-2"
_OLD = "fes-judge-1"
_LEAST_ACCURACY = 0.5
"""Of real faces: who reads fewer rightly is more often wrong than right. On FER2013 people reach 0.65, the
judge that comes with fes 0.70, a guide of 400 kimg, which has learnt to look through noise, 0.56; and who
always says the same has 0.14, or 0.25 with happy."""


def save_judge(path: Path, judge: Judge, half: bool = False) -> None:
    """Writes a judge and its facts as safetensors.

    Args:
        half: in 16 bits a number, half the size; they are read back as float32.

    Raises:
        InputError: the folder cannot be written.
    """
    about = {"kind": judge.kind, "resolution": judge.resolution, "channels": judge.channels}
    facts = None if judge.facts is None else asdict(judge.facts)
    metadata = {"format": FORMAT, "judge": json.dumps(about | {"facts": facts})}
    tensors = {name: _stored(tensor, half) for name, tensor in judge.state_dict().items()}
    write_file(path, save(tensors, metadata))


def load_judge(path: Path) -> Judge:
    """Reads a judge.

    Raises:
        InputError: there is none, or the file is another kind of file.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a judge: {error}; 'fes judge train' makes one") from None
    if metadata.get("format") == _OLD:
        raise InputError(f"{path} is a judge of an older version of fes: 'fes judge train' makes a new one")
    if metadata.get("format") != FORMAT:
        raise InputError(f"{path} is a safetensors file, but not a judge; 'fes judge train' makes one")
    try:
        return _judge(json.loads(metadata["judge"]), tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:  # also of what json and torch tell
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is a damaged judge ({reason}); 'fes judge train' makes one") from None


def _stored(tensor: Tensor, half: bool) -> Tensor:
    return tensor.to(torch.float16 if half and tensor.is_floating_point() else tensor.dtype).contiguous()


def load_graders(paths: Sequence[Path | None], resolution: int, channels: int) -> list[Judge | None]:
    """Reads the judges that grade pictures of a shape; None for None.

    Raises:
        InputError: one cannot be used, or reads pictures of another shape; or two are the same.
    """
    judges = [load_judge(path) if path else None for path in paths]
    check_distinct(paths)
    for judge in filter(None, judges):
        judge.check_shape(resolution, channels)
    return judges


def check_distinct(paths: Sequence[Path | None]) -> None:
    """Raises `InputError` where a second judge is the first, or a copy of it: what fools one fools both."""
    for first, second in itertools.combinations(filter(None, paths), 2):
        if sha256_of(first) == sha256_of(second):
            raise InputError(
                f"the second judge, {second}, is the same as the first, {first}, and would only repeat it: "
                "train another one with another --seed, or leave it out"
            )


def doubts(judge: Judge, path: Path, role: str = "judge") -> list[str]:
    """A warning where by its own file a judge hardly reads real faces; none where it tells nothing.

    Args:
        role: what it is there for, "judge" or "guide".
    """
    if judge.facts is None or judge.facts.accuracy >= _LEAST_ACCURACY:
        return []
    so = "faces learn little from it" if role == "guide" else "figures by it say little"
    return [
        f"warning: the {role} {path} reads {judge.facts.accuracy:.2f} of real faces rightly: {so}; "
        "train one for longer (--kimg)"
    ]


def _judge(about: dict[str, Any], tensors: dict[str, Tensor]) -> Judge:
    check_shape(about["resolution"], about["channels"])
    if about["kind"] not in KINDS:
        raise ValueError(f"its kind is {about['kind']}")
    judge = Judge(about["kind"], about["resolution"], about["channels"])
    judge.load_state_dict(tensors)
    judge.facts = _facts(about["facts"])
    return judge.eval()


def _facts(told: dict[str, Any] | None) -> Facts | None:
    if told is None:
        return None
    confusion = tuple(tuple(int(n) for n in row) for row in told["confusion"])
    if {len(confusion), *map(len, confusion)} != {len(EXPRESSIONS)}:
        raise ValueError("its confusion has not a row and a column for each class")
    return Facts(float(told["accuracy"]), confusion, str(told["data"]), dict(told["config"]))
