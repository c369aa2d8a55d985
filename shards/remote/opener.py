"""Reads files behind addresses, as chunks of bytes: `https:`, `file:`, `pipe:`, and all that fsspec knows.

http is read with the standard library, which tells a missing file from a busy server and leaves no process
behind. A `pipe:` runs a command of the user's own with `{}` for the name of a file. Everything else
(`s3:`, `gs:`, `hf:`, ...) is fsspec's.
"""

import base64
import http.client
import os
import queue
import re
import select
import signal
import ssl
import subprocess
import tempfile
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import BinaryIO

from fes.errors import InputError
from shards.remote.addresses import PIPE, shown

CHUNK_BYTES = 1 << 20
BUSY = (408, 425, 429)
"""The answers of a server, below 500, after which the same question may fare better."""
DRIVERS = {"s3": "fsspec s3fs", "gs": "fsspec gcsfs", "hf": "fsspec huggingface_hub"}
"""What to install for the addresses that people have most."""

# Whoever runs the command may be killed: the reader of the empty input sees its end then, and takes the
# command and all that it started along.
_GUARDED = """
exec 3<&0 </dev/null
(read -r _ <&3; kill -9 0) >/dev/null 2>&1 &
sh -c "$1" 3<&-
status=$?
exec 2>/dev/null
kill -9 $!
wait $!
exit $status
"""


class Dropped(Exception):
    """An attempt failed, and another may not; the message is a reason in a few words.

    `pause` is for how many seconds the server asks not to be asked again.
    """

    def __init__(self, message: str, pause: float = 0.0) -> None:
        super().__init__(message)
        self.pause = pause


class Altered(Dropped):
    """What came is not what was wanted: if that comes again, it is what lies there."""


class Refused(Exception):
    """No attempt will do better; the message is a reason in a few words."""


def chunks(where: str, patience: float) -> Iterator[bytes]:
    """The contents of a file, in pieces; to be closed, like a file, where it is not read to its end.

    Args:
        where: what `address` gave.
        patience: seconds without a byte after which an attempt has failed.

    Raises:
        Dropped: the attempt failed: no connection, a stall, an early end, a busy server.
        Refused: there is no such file, or no right to read it.
        InputError: what reads such addresses is not installed.
    """
    if where.startswith(PIPE):
        return _from_command(where.removeprefix(PIPE), patience)
    if where.startswith("file:"):
        return _from_file(where)
    if where.startswith(("http:", "https:")):
        return _from_http(where, patience)
    return _from_filesystem(where, patience)


def _from_http(where: str, patience: float) -> Iterator[bytes]:
    try:
        with urllib.request.urlopen(_request(where), timeout=patience) as response:
            while chunk := response.read(CHUNK_BYTES):
                yield chunk
            if response.length:
                raise Dropped(f"the connection ended {response.length} bytes too early")
    except urllib.error.HTTPError as error:
        with error:
            told = f"the server answered {error.code} {error.reason}".strip()
            if error.code >= 500 or error.code in BUSY:
                raise Dropped(told, _seconds(error.headers.get("Retry-After"))) from None
            raise Refused(told) from None
    except (http.client.InvalidURL, ValueError) as error:
        raise Refused(_in_words(error)) from None
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, TimeoutError):
            raise Dropped(_no_byte_for(patience)) from None
        kind = Refused if isinstance(reason, ssl.SSLCertVerificationError) else Dropped
        raise kind(_in_words(reason)) from None


def _seconds(told: str | None) -> float:
    """What a server says of when to come again, as seconds from now; 0 where it says nothing of use."""
    with suppress(ValueError):
        return float(told or "")
    with suppress(ValueError, TypeError):  # one without its zone cannot be subtracted
        return (parsedate_to_datetime(told or "") - datetime.now(UTC)).total_seconds()
    return 0.0


def _request(where: str) -> urllib.request.Request:
    parts = urllib.parse.urlsplit(where)
    host = parts.netloc.rpartition("@")[2]
    path = urllib.parse.quote(parts.path, safe="/%:@!$&'()*+,;=~")
    request = urllib.request.Request(urllib.parse.urlunsplit((parts.scheme, host, path, parts.query, "")))
    request.add_header("User-Agent", "fes")  # some hosts turn urllib's own away
    if parts.username is not None:
        user = urllib.parse.unquote(f"{parts.username}:{parts.password or ''}")
        # A server that sends us elsewhere must not hand the password on.
        request.add_unredirected_header(
            "Authorization", f"Basic {base64.b64encode(user.encode()).decode('ascii')}"
        )
    return request


def _from_file(where: str) -> Iterator[bytes]:
    path = urllib.parse.unquote(re.sub(r"^file:(//(localhost)?(?=/))?", "", where))
    try:
        with open(path, "rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError, ValueError) as error:
        raise Refused(_in_words(error)) from None
    except OSError as error:
        raise Dropped(_in_words(error)) from None


def _from_command(command: str, patience: float) -> Iterator[bytes]:
    try:
        with tempfile.TemporaryFile() as complaints, _started(command, complaints.fileno()) as process:
            try:
                yield from _arriving(process.stdout.fileno(), patience)
                status = process.wait(patience)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
            if status:
                kind = Refused if status in (126, 127) else Dropped  # the shell's: no such program
                raise kind(f"the command ended with exit code {status} ({_last_line(complaints)})")
    except subprocess.TimeoutExpired:
        raise Dropped(f"the command did not end {patience:g} s after its last byte") from None
    except OSError as error:
        raise Dropped(f"the command could not be run: {_in_words(error)}") from None


def _started(command: str, complaints: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["sh", "-c", _GUARDED, "sh", command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=complaints,
        start_new_session=True,  # so that a stalled pipeline can be ended as a whole
    )


def _arriving(output: int, patience: float) -> Iterator[bytes]:
    arrival = select.poll()
    arrival.register(output, select.POLLIN)
    while arrival.poll(patience * 1000):
        if not (chunk := os.read(output, CHUNK_BYTES)):
            return
        yield chunk
    raise Dropped(_no_byte_for(patience))


def _last_line(file: BinaryIO) -> str:
    file.seek(max(0, file.seek(0, os.SEEK_END) - 2000))
    lines = [line.strip() for line in file.read().decode(errors="replace").split("\n")]
    return next((line[:200] for line in reversed(lines) if line), "no message")


def _from_filesystem(where: str, patience: float) -> Iterator[bytes]:
    """Reads in a thread of its own: how long a read may take is up to each of fsspec's drivers."""
    arrived: queue.Queue[bytes | Exception | None] = queue.Queue(maxsize=4)
    given_up = threading.Event()
    threading.Thread(target=_read_filesystem, args=(where, arrived, given_up), daemon=True).start()
    try:
        while True:
            try:
                arrival = arrived.get(timeout=patience)
            except queue.Empty:
                raise Dropped(_no_byte_for(patience)) from None
            if arrival is None:
                return
            if isinstance(arrival, Exception):
                raise arrival
            yield arrival
    finally:
        given_up.set()
        while not arrived.empty():  # the thread may be waiting for room
            arrived.get_nowait()


def _read_filesystem(
    where: str, arrived: "queue.Queue[bytes | Exception | None]", given_up: threading.Event
) -> None:
    try:
        with closing(_opened(where)) as file:
            while not given_up.is_set() and (chunk := file.read(CHUNK_BYTES)):
                arrived.put(chunk)
        arrived.put(None)
    except (InputError, Refused) as error:
        arrived.put(error)
    except (FileNotFoundError, PermissionError) as error:
        arrived.put(Refused(_in_words(error)))
    except Exception as error:  # every driver has its own
        arrived.put(Dropped(_in_words(error)))


def _opened(where: str) -> BinaryIO:
    scheme = where.partition(":")[0]
    instead = "give a command that writes a file to its output, 'pipe:COMMAND {}'"
    try:
        import fsspec

        fsspec.get_filesystem_class(scheme)
    except ImportError:
        raise InputError(
            f"cannot fetch {shown(where)}: what reads {scheme}: addresses is not installed; "
            f"pip install {DRIVERS.get(scheme, 'its driver for fsspec')}, or {instead}"
        ) from None
    except ValueError:
        raise InputError(
            f"cannot fetch {shown(where)}: {scheme}: addresses are not known; {instead}"
        ) from None
    filesystem, path = fsspec.core.url_to_fs(where)
    return filesystem.open(path, "rb")


def _in_words(error: BaseException | str) -> str:
    told = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return told.strip().split("\n")[0][:200]


def _no_byte_for(patience: float) -> str:
    return f"no byte came for {patience:g} s"
