"""Addresses of data sets and of the files in them: `https://host/set`, `file:/folder`, `pipe:command {}`."""

import re
import urllib.parse

from fes.errors import InputError

PIPE = "pipe:"
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://|(file|pipe):")
_PROGRAM = re.compile(r"[A-Za-z0-9_./+-]{1,80}")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}")


def is_remote(place: str) -> bool:
    """Whether a place is an address, `scheme://...`, `file:...` or `pipe:...`, and not a path."""
    return _ADDRESS.match(place) is not None


def checked_base(base: str) -> str:
    """What a user gave as the address of a data set, its scheme in small letters.

    Raises:
        InputError: a command without a place for the name, or an address without a host.
    """
    if base.startswith(PIPE):
        if "{}" not in base:
            raise InputError(
                f"'{base}' does not say which file it wants: write {{}} where the file's name goes, "
                f"as in 'pipe:aws s3 cp s3://bucket/set/{{}} -'"
            )
        return base
    try:
        parts = urllib.parse.urlsplit(base)
        whole = is_remote(base) and (parts.hostname or parts.scheme not in ("http", "https"))
    except ValueError:  # brackets that do not close, for one
        whole = False
    if not whole:
        raise InputError(f"'{shown(base)}' is not an address; it should look like https://host/set")
    scheme, colon, rest = base.partition(":")
    return f"{scheme.lower()}{colon}{rest}"


def is_plain_name(name: object) -> bool:
    """Whether a name is a file's alone: no folder, no address, and nothing that a shell would act upon."""
    return isinstance(name, str) and _PLAIN_NAME.fullmatch(name) is not None and ".." not in name


def address(base: str, name: str) -> str:
    """Where a file of a data set lies.

    Raises:
        InputError: the name is not plain. Names come from an index that others wrote.
    """
    if not is_plain_name(name):
        raise InputError(
            f"the index of {shown(base)} names a file {str(name)[:80]!r}: behind an address only plain names "
            f"are followed (letters, digits, '.', '_' and '-'); rename the file there and in the index"
        )
    if base.startswith(PIPE):
        return base.replace("{}", name)
    path, mark, query = base.partition("?") if base.startswith(("http:", "https:")) else (base, "", "")
    return f"{path.rstrip('/')}/{name}{mark}{query}"


def shown(where: str, name: str | None = None) -> str:
    """An address, or that of a file in it, as a message may show it and a file may keep it.

    It has no password, nothing of what follows a `?`, and of a command only the program: what it is called
    with may be as secret.
    """
    if where.startswith(PIPE):
        program = _PROGRAM.fullmatch((where.removeprefix(PIPE).split() or [""])[0])
        command = f"{PIPE}{program[0]} ..." if program else f"{PIPE}..."
        return command if name is None else f"'{name}' by {command}"
    where = where if name is None else address(where, name)
    # Up to the last @, as requests are made: a user's name may hold another.
    return re.sub(r"^([^/]*//)[^/]*@", r"\1", where.partition("?")[0])
