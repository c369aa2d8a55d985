"""The weights that come with fes: two synthesisers of real faces, and the judge that graded them.

fes/weights/README.md tells what they are, what they can do, and what they are not for.
"""

from pathlib import Path

from fes.errors import InputError

_FOLDER = Path(__file__).parents[1] / "weights"


def shipped_synthesizer() -> Path:
    """The snapshot that is used where none is named; raises `InputError` where fes came without it."""
    return _shipped("synthesizer", "--weights")


def shipped_retoucher() -> Path:
    """The snapshot that changes photographs in their own pixels, where none is named; raises `InputError`
    where fes came without it."""
    return _shipped("retoucher", "--weights")


def shipped_judge() -> Path:
    """The judge that is used where none is named; raises `InputError` where fes came without it."""
    return _shipped("judge", "--judge")


def _shipped(name: str, flag: str) -> Path:
    path = _FOLDER / f"{name}.safetensors"
    if not path.is_file():
        raise InputError(
            f"fes was installed without its own {name} ({path} is not there): name one by {flag}"
        )
    return path
