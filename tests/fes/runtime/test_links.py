"""Ranks connect to the first one, strangers do not, and what is sent arrives as it was."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fes.errors import InputError
from fes.runtime.links import Meeting, Wire, accept, connect, listen

pytestmark = pytest.mark.alone


@pytest.fixture
def pair() -> Iterator[tuple[Wire, Wire]]:
    wires = tuple(Wire(each) for each in socket.socketpair())
    yield wires
    for wire in wires:
        wire.close()


def test_all_ranks_connect_and_a_stranger_does_not():
    server, meeting = listen(3)
    found: dict[int, socket.socket] = {}
    thread = threading.Thread(target=lambda: found.update(accept(server, meeting, 3, 20.0)))
    thread.start()
    with socket.create_connection(("127.0.0.1", meeting.port)) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\nHost: whoever may be asking here\r\n\r\n")
        own = [connect(meeting, rank, "127.0.0.1") for rank in (2, 1)]
        thread.join(20.0)
    assert sorted(found) == [1, 2]
    for link, rank in zip(own, (2, 1), strict=True):
        link.sendall(bytes([rank]))
        assert found[rank].recv(1) == bytes([rank])
    for link in (*own, *found.values()):
        link.close()


def test_ranks_that_do_not_come_are_named():
    server, meeting = listen(4)
    with pytest.raises(InputError, match=r"ranks 1, 2, 3 did not connect"):
        accept(server, meeting, 4, 0.05)


def test_where_nobody_listens_any_more_the_address_is_told():
    server, meeting = listen(2)
    server.close()
    with pytest.raises(InputError, match=f"cannot reach rank 0 at 127.0.0.1, port {meeting.port}"):
        connect(meeting, 1, "127.0.0.1", 5.0)


def greet(server: socket.socket) -> None:
    with server.accept()[0] as link:
        link.sendall(b"220 mail")


def test_what_answers_otherwise_than_rank_0_is_not_taken_for_it():
    with socket.create_server(("127.0.0.1", 0)) as other:
        threading.Thread(target=greet, args=(other,), daemon=True).start()
        with pytest.raises(InputError, match="somebody else"):
            connect(Meeting(other.getsockname()[1], "0" * 32), 1, "127.0.0.1", 5.0)


def test_messages_arrive_in_order_though_they_come_in_pieces(pair: tuple[Wire, Wire]):
    near, far = pair
    near.send({"ask": None})
    near.link.sendall(b'{"bea')
    assert far.receive() == [{"ask": None}]
    near.link.sendall(b't": [1]}\n')
    assert far.receive() == [{"beat": [1]}]


def test_a_closed_connection_and_a_silent_one_are_told_apart(pair: tuple[Wire, Wire]):
    near, far = pair
    far.link.settimeout(0.01)
    with pytest.raises(TimeoutError):
        far.receive()
    near.close()
    with pytest.raises(ConnectionError):
        far.receive()
    far.send({"into": "the void"})


def test_the_end_of_a_killed_process_shows_though_one_that_it_forked_lives_on():
    program = (
        "import os, signal, socket, sys, time\n"
        "from fes.runtime.links import Wire\n"
        "wire = Wire(socket.socket(fileno=int(sys.argv[1])))\n"
        "if child := os.fork():\n"
        "    print(child, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "time.sleep(60)\n"
    )
    near, far = socket.socketpair()
    with (
        near,
        subprocess.Popen(
            [sys.executable, "-c", program, str(far.fileno())],
            pass_fds=[far.fileno()],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        far.close()
        child = int(process.stdout.readline())
        try:
            near.settimeout(20.0)
            assert near.recv(1) == b""
        finally:
            os.kill(child, signal.SIGKILL)
