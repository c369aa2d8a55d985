"""A web server on this machine that serves files badly, as told."""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DROP, STALL, HALF, WRONG, LONGER = "drop", "stall", "half", "wrong", "longer"
"""The connection ends in the middle; it falls silent there; half a file comes as if it were whole; a byte is
wrong; more comes than there is."""


class UnreliableServer(ThreadingHTTPServer):
    """Serves `files` by name; the first requests for a name go as badly as `faults` says, the others well.

    A fault is one of the above, or the number of a status to answer with. Every answer comes `delay` seconds
    late. With `answers` there is an outage after so many, and with `retry_after` it says how long it lasts.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[str | int]] = defaultdict(list)
        self.delay = 0.0
        self.answers: int | None = None
        self.retry_after: str | None = None
        self.requests: Counter[str] = Counter()
        self.order: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.stalled = threading.Event()
        self.closing = threading.Event()
        self.counting = threading.Lock()

    @property
    def address(self) -> str:
        """Where the folder of files lies."""
        return f"http://127.0.0.1:{self.server_address[1]}/set"

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing: those who ask may leave at any time."""


class _Handler(BaseHTTPRequestHandler):
    server: UnreliableServer

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        name = self.path.partition("?")[0].removeprefix("/set/")
        with self.server.counting:
            self.server.requests[name] += 1
            self.server.order.append(name)
            self.server.headers.append(dict(self.headers))
            faults = self.server.faults[name]
            fault = faults.pop(0) if faults else None
            if self.server.answers is not None and len(self.server.order) > self.server.answers:
                fault = 503
        time.sleep(self.server.delay)
        if isinstance(fault, int):
            self._send_fault(fault)
        elif name not in self.server.files:
            self.send_error(404)
        else:
            self._send(self.server.files[name], fault)

    def _send_fault(self, status: int) -> None:
        self.send_response(status)
        if self.server.retry_after is not None:
            self.send_header("Retry-After", self.server.retry_after)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, contents: bytes, fault: str | None) -> None:
        half = contents[: len(contents) // 2]
        if fault == WRONG:
            contents = half + bytes([contents[len(half)] ^ 1]) + contents[len(half) + 1 :]
        elif fault == HALF:
            contents = half
        elif fault == LONGER:
            contents += b"more"
        self.send_response(200)
        self.send_header("Content-Length", str(len(contents)))
        self.end_headers()
        self.wfile.write(half if fault in (DROP, STALL) else contents)
        if fault == STALL:
            self.server.stalled.set()
            self.server.closing.wait()


@contextmanager
def serving() -> Iterator[UnreliableServer]:
    """A server that runs meanwhile."""
    with UnreliableServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()
