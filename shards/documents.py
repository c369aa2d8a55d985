"""The JSON files of a data set: the same bytes for the same content, and fit to be read and compared."""

import json
from pathlib import Path

from fes.errors import InputError


def one_line(value: object) -> str:
    """JSON without blanks or line ends; ASCII only."""
    return json.dumps(value, separators=(",", ":"))


def to_text(document: dict[str, object]) -> str:
    """JSON with one line per entry, and one per item where an entry is a list of objects."""
    return (
        "{\n" + ",\n".join(f" {one_line(key)}: {_entry(value)}" for key, value in document.items()) + "\n}\n"
    )


def _entry(value: object) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n  " + ",\n  ".join(map(one_line, value)) + "\n ]"
    return one_line(value)


def read_document(path: Path, advice: str) -> dict[str, object]:
    """The object in a JSON file. Raises InputError, ending in `advice`, where there is none."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"cannot read {path} ({error}); {advice}") from error
    if not isinstance(document, dict):
        raise InputError(f"{path} holds no JSON object; {advice}")
    return document


def printable(name: str) -> str:
    """A file's name for people and for JSON: bytes of it that are no UTF-8 are escaped."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
