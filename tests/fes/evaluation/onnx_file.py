"""ONNX files of one node, written by hand in protobuf's wire format: the library for it is large."""

from collections.abc import Sequence

FLOAT, DOUBLE = 1, 11


def flatten(shape: Sequence[int | str], kind: int = FLOAT, node: str = "Flatten") -> bytes:
    """A network that makes one row of each picture; words in the shape are sizes left open."""
    graph = _field(1, _field(1, b"x") + _field(2, b"y") + _field(4, node.encode()))
    graph += _field(2, b"graph") + _field(11, _value(b"x", shape, kind)) + _field(12, _value(b"y", (), kind))
    return _number(1, 8) + _field(7, graph) + _field(8, _field(1, b"") + _number(2, 13))


def _value(name: bytes, shape: Sequence[int | str], kind: int) -> bytes:
    sizes = (_number(1, size) if isinstance(size, int) else _field(2, size.encode()) for size in shape)
    told = b"".join(_field(1, size) for size in sizes)
    return _field(1, name) + _field(2, _field(1, _number(1, kind) + (_field(2, told) if shape else b"")))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    low, high = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(high) if high else bytes([low])
