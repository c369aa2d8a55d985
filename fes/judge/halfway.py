"""A judge halfway through its training, in a file beside the one that it will be in: what going on needs."""

import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from fes.errors import InputError
from fes.files import remove_if_there, write_file
from fes.judge.training import Data, Keeper, Parts

SECONDS = 60.0
"""Between two writings: what a process that is killed loses at the most."""


class Asked(Protocol):
    """Whether a signal asked to stop."""

    def before(self, step: int) -> bool:
        """Whether one did, before a step."""

    def waited(self, get: Callable[[], Data]) -> Data:
        """Data that are waited for; raises `Lost` where they do not come and one did."""


class Halfway(Keeper):
    """Keeps a training in a file, now and then and where a signal asks to stop."""

    def __init__(self, judge: Path, about: Mapping[str, Any], asked: Asked) -> None:
        """
        Args:
            judge: the file that the judge will be in.
            about: what is trained, on what, and how; of plain values.

        Raises:
            InputError: there is a file of another training, or one that cannot be read.
        """
        self.path = path_of(judge)
        self._about, self._asked = json.loads(json.dumps(about)), asked
        self._kept: dict[str, Any] = self._read() if os.path.lexists(self.path) else {"step": 0}
        self._written = time.monotonic()

    @property
    def step(self) -> int:
        """The step that the training goes on with."""
        return self._kept["step"]

    def restore(self, parts: Parts) -> int:
        if self.step:
            for name, part in parts.items():
                part.load_state_dict(self._kept[name])
        return self.step

    def stops(self, step: int, parts: Parts) -> bool:
        asked = self._asked.before(step)
        if asked or time.monotonic() - self._written > SECONDS:
            self.keep(step, parts)
        return asked

    def waited(self, get: Callable[[], Data]) -> Data:
        return self._asked.waited(get)

    def keep(self, step: int, parts: Parts) -> None:
        if step == self.step:  # nothing was learnt since
            return
        kept = {"step": step, "about": json.dumps(self._about)}
        content = io.BytesIO()
        torch.save(kept | {name: part.state_dict() for name, part in parts.items()}, content)
        write_file(self.path, _sum(content.getvalue()) + content.getvalue())
        self._kept, self._written = kept, time.monotonic()

    def remove(self) -> None:
        """The judge is written: what is halfway there is no longer needed."""
        remove_if_there(self.path)

    def _content(self) -> bytes:
        whole = self.path.read_bytes()
        content = whole[len(_sum(b"")) :]
        if _sum(content) + content != whole:
            raise ValueError("by its sum it is not what was written")
        return content

    def _read(self) -> dict[str, Any]:
        try:
            kept = torch.load(io.BytesIO(self._content()), map_location="cpu", weights_only=True)
            about = dict(json.loads(kept["about"]))
        except OSError as error:
            raise InputError(f"{self.path} cannot be read: {error.strerror}") from None
        except Exception as error:  # torch tells of what is no tensor in many ways
            reason = " ".join(str(error).split()).partition(". ")[0]
            raise InputError(
                f"{self.path} cannot be gone on from ({type(error).__name__}: {reason}): remove it to train "
                "from the beginning"
            ) from None
        differing = [
            f"{name} was {about.get(name)} and is {self._about.get(name)}"
            for name in sorted(about.keys() | self._about.keys())
            if about.get(name) != self._about.get(name)
        ]
        if differing:
            raise InputError(
                f"{self.path} is of another training, which was stopped: {'; '.join(differing)}. Take the "
                "same settings, or another --out, or remove it to train from the beginning"
            )
        return kept


def path_of(judge: Path) -> Path:
    """Where a judge is kept while it is trained."""
    return judge.with_name(f"{judge.name}.halfway")


def _sum(content: bytes) -> bytes:
    """A line with the sha256 of what follows: torch would read what is damaged without a word."""
    return f"{hashlib.sha256(content).hexdigest()}\n".encode()
