"""What the command lines share: their words, what is wrong with them, and what messages advise."""

from fes.commandline.ending import Terminated, interrupted, readers_may_leave, terminable
from fes.commandline.parsing import (
    FOUND,
    MIDDLE,
    NEAR,
    check_words,
    likeness,
    parsed,
    parsed_command,
    part_of_picture,
    tell_version,
)

__all__ = [
    "FOUND",
    "MIDDLE",
    "NEAR",
    "Terminated",
    "check_words",
    "interrupted",
    "likeness",
    "parsed",
    "parsed_command",
    "part_of_picture",
    "readers_may_leave",
    "tell_version",
    "terminable",
]
