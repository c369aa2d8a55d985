"""Reads arrays of numbers from .mat files, of MATLAB 5 to 7 and, through h5py, of MATLAB 7.3.

Both formats lay an array out with its first axis fastest. A variable is given here as it lies in the file:
its axes are the reverse of MATLAB's, so that of N x height x width is [width, height, N].
What is not packed is read when it is used. Objects and code in a file are never looked at.
"""

import contextlib
import io
import math
import os
import stat
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from fes.errors import InputError

HDF5 = b"\x89HDF\r\n\x1a\n"
# How a file of MATLAB 5 to 7 begins, and what its variables are made of: "MAT-File Format", MathWorks.
BYTE_ORDERS = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}
VERSION_PLACE, HEADER, TAG = 124, 128, 8
MATRIX, PACKED = 14, 15
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
CLASSES = ("?", "cell", "struct", "object", "char", "sparse", "double", "single", "int8", "uint8", "int16")
CLASSES += ("uint16", "int32", "uint32", "int64", "uint64", "function", "opaque")
ARRAYS, NUMERIC = range(1, 16), range(6, 16)
COMPLEX = 0x800
# More than a variable's kind, shape and name take, and most that a byte of zlib's can unfold to.
HEAD, MOST_UNFOLDING = 2048, 1040
BLOCK = 2**20


class Stored(Protocol):
    """A variable: an array; or a `FileArray` or a dataset of HDF5, which are read when they are used."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def __getitem__(self, part: slice) -> np.ndarray: ...


@dataclass(frozen=True)
class FileArray:
    """Numbers in one piece of a file. It is not mapped: one that shrinks would then kill the process."""

    path: Path
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]

    def __getitem__(self, part: slice) -> np.ndarray:
        """A part of the first axis."""
        first, stop, _ = part.indices(self.shape[0])
        across = math.prod(self.shape[1:])
        place = self.offset + first * across * self.dtype.itemsize
        numbers = np.fromfile(self.path, self.dtype, (stop - first) * across, offset=place)
        return numbers.reshape(stop - first, *self.shape[1:])

    def last(self, first: int, stop: int) -> np.ndarray:
        """A part of the last axis."""
        each, size = self.shape[-1] * self.dtype.itemsize, (stop - first) * self.dtype.itemsize
        begin = self.offset + first * self.dtype.itemsize
        with open(self.path, "rb", buffering=0) as file:
            number = file.fileno()
            pieces = [os.pread(number, size, begin + at * each) for at in range(math.prod(self.shape[:-1]))]
        return np.frombuffer(b"".join(pieces), self.dtype).reshape(*self.shape[:-1], stop - first)


@dataclass(frozen=True)
class MatFile:
    """An open file: those of the wanted variables that are arrays of numbers, and what all of them are."""

    wanted: dict[str, Stored]
    listed: str


@contextlib.contextmanager
def open_mat(path: Path, names: Sequence[str]) -> Iterator[MatFile]:
    """The variables of these names in a .mat file, which stays open until the context is left.

    Raises InputError where there is no such file, it is damaged or of another kind.
    """
    with contextlib.ExitStack() as files:
        with damage_told(path):
            if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe would wait for ever
                raise InputError(f"{path} is not a file: give a .mat file")
            file = files.enter_context(open(path, "rb"))
            found, listed = _in_hdf5(path, names, files) if _is_hdf5(file) else _in_matlab_5(file, names)
        told = ", ".join(f"{_shown(name)} ({what})" for name, what in listed.items())
        yield MatFile(found, told[:200] or "nothing")


def parts(stored: Stored) -> list[slice]:
    """The first axis in parts as deep as the file's chunks are, so that none is unpacked twice."""
    depth, step = stored.shape[0], stored.chunks[0] if getattr(stored, "chunks", None) else 1
    return [slice(first, min(first + step, depth)) for first in range(0, depth, step)]


def size_of(stored: Stored) -> str:
    """The shape of a variable as MATLAB has it: `5x48x48`."""
    return _times(reversed(stored.shape))


@contextlib.contextmanager
def damage_told(path: Path) -> Iterator[None]:
    """Turns whatever reading a file may raise into InputError."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist: check the path given as --source") from error
    except PermissionError as error:
        raise InputError(f"cannot read {path} ({error.strerror}): give a file that you may read") from error
    except Exception as error:  # h5py and numpy meet damage with a dozen kinds of exception
        told = ascii(str(error))[1:-1][:100] or type(error).__name__
        raise InputError(
            f"cannot read {path} ({told}): it is cut short or damaged, fetch it again"
        ) from error


def _is_hdf5(file: BinaryIO) -> bool:
    """The signature of HDF5 stands at 0, 512, 1024, 2048, ...: MATLAB has a header of its own before it."""
    size, place = file.seek(0, io.SEEK_END), 0
    while place < size:
        file.seek(place)
        if file.read(len(HDF5)) == HDF5:
            return True
        place = max(512, 2 * place)
    return False


def _in_hdf5(
    path: Path, names: Sequence[str], files: contextlib.ExitStack
) -> tuple[dict[str, Stored], dict[str, str]]:
    try:
        import h5py
    except ImportError:
        raise InputError("reading .mat files of MATLAB 7.3 takes h5py: pip install h5py") from None
    file = files.enter_context(h5py.File(path, "r"))
    stored = {name: item for name, item in file.items() if isinstance(item, h5py.Dataset)}
    listed = {name: f"{each.dtype} {size_of(each)}" for name, each in stored.items()}
    wanted = {name: stored[name] for name in names if name in stored and stored[name].dtype.kind in "uif"}
    for name, each in wanted.items():
        if (offset := each.id.get_offset()) is not None:  # in one piece, not packed
            wanted[name] = FileArray(path, each.dtype, offset, each.shape)
    return wanted, listed


def _in_matlab_5(file: BinaryIO, names: Sequence[str]) -> tuple[dict[str, Stored], dict[str, str]]:
    file.seek(VERSION_PLACE)
    order = BYTE_ORDERS.get(file.read(HEADER - VERSION_PLACE))
    if order is None:
        raise InputError(f"{file.name} is no .mat file of MATLAB 5 to 7.3: give one, or save it as one")
    wanted, listed = {}, {}
    place, end = HEADER, file.seek(0, io.SEEK_END)
    while place < end:
        variable = _Variable.at(file, place, order)
        place += TAG + variable.length
        if place > end:
            raise EOFError("a variable ends too early")
        listed[variable.name] = f"{variable.kind} {_times(variable.shape)}"
        if variable.name in names and variable.numbers:
            wanted[variable.name] = variable.stored(file)
    return wanted, listed


@dataclass(frozen=True)
class _Variable:
    """What the beginning of a variable tells; `numbers` is their type, None where they are no real numbers.

    The variable lies at `place`, and its numbers, `size` bytes of them, begin at `first` within it, or
    within what it is unpacked to.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    numbers: np.dtype | None
    place: int
    length: int
    packed: bool
    first: int
    size: int

    @classmethod
    def at(cls, file: BinaryIO, place: int, order: str) -> "_Variable":
        file.seek(place)
        element, length = struct.unpack(order + "II", file.read(TAG))
        if element not in (MATRIX, PACKED):
            raise ValueError(f"an element of type {element} where a variable should begin")
        head = file.read(min(length, HEAD))
        if element == PACKED:
            head = zlib.decompressobj().decompress(head, HEAD)[TAG:]
        _, first, size, at = _element(head, 0, order)
        flags = struct.unpack_from(order + "I", head[first : first + size])[0]
        kind, rest = flags & 0xFF, (place + TAG, length, element == PACKED)
        if kind not in ARRAYS:  # objects of MATLAB's own, which tell no shape
            return cls("?", CLASSES[kind], (), None, *rest, 0, 0)
        _, first, size, at = _element(head, at, order)
        shape = tuple(np.frombuffer(head[first : first + size], order + "i4").tolist())
        _, first, size, at = _element(head, at, order)
        name = head[first : first + size].decode("latin-1")
        if kind not in NUMERIC or flags & COMPLEX:
            return cls(name, CLASSES[kind], shape, None, *rest, 0, 0)
        number, first, size, _ = _element(head, at, order)
        return cls(name, CLASSES[kind], shape, np.dtype(order + NUMBERS[number]), *rest, first, size)

    def stored(self, file: BinaryIO) -> np.ndarray | FileArray:
        """The numbers; read later where they are not packed."""
        if min(self.shape) < 0 or math.prod(self.shape) * self.numbers.itemsize != self.size:
            raise ValueError(f"{self.name} is of another size than its {_times(self.shape)} numbers")
        shape = self.shape[::-1]
        if self.packed or not self.size:
            return self._unpacked(file).view(self.numbers).reshape(shape)
        if self.first + self.size > self.length:
            raise EOFError(f"{self.name} ends too early")
        return FileArray(Path(file.name), self.numbers, self.place + self.first, shape)

    def _unpacked(self, file: BinaryIO) -> np.ndarray:
        if self.size > MOST_UNFOLDING * self.length:
            raise EOFError(f"{self.name} ends too early")
        numbers, at = np.empty(self.size, np.uint8), -TAG - self.first
        for block in _inflated(file, self.place, self.length):
            content = np.frombuffer(block, np.uint8)[max(0, -at) :][: self.size - max(0, at)]
            numbers[max(0, at) : max(0, at) + len(content)] = content
            at += len(block)
        if at < self.size:
            raise EOFError(f"{self.name} ends too early")
        return numbers


def _element(head: bytes, place: int, order: str) -> tuple[int, int, int, int]:
    """An element's type, where its content begins, how many bytes that has, and where the next one begins."""
    kind, size = struct.unpack_from(order + "II", head, place)
    if kind >> 16:  # a small one: size, type and content in eight bytes
        return kind & 0xFFFF, place + 4, kind >> 16, place + TAG
    return kind, place + TAG, size, place + TAG + -(-size // TAG) * TAG


def _inflated(file: BinaryIO, place: int, length: int) -> Iterator[bytes]:
    """The content of a stream of zlib's, in blocks; raises zlib.error or EOFError where it is damaged."""
    stream, rest, left = zlib.decompressobj(), b"", length
    file.seek(place)
    while not stream.eof:
        if not rest:
            rest = file.read(min(BLOCK, left))
            left -= len(rest)
        if not rest:
            raise EOFError("the packed data ends too early")
        yield stream.decompress(rest, BLOCK)
        rest = stream.unconsumed_tail


def _shown(name: str | bytes) -> str:
    return name if isinstance(name, str) and name.isidentifier() else ascii(name)


def _times(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape)) or "1"
