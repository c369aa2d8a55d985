"""Hosts made of namespaces, each with one network card on a common switch: a small cluster on one machine.

All hosts see the same files. Each has its own name, network and processes, and one core, so that a rank has
one thread, as where two ranks share two cores: with another number its bits would be others. Everything hangs
on a pipe that this process holds: however it ends, the hosts end with it, and nothing is left, since
namespaces without a process vanish.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

CARD = "eth0"
"""The name of each host's network card."""
PATIENCE = 60.0
"""Seconds that the making of a host, a cut or the end of all may take."""

_KINDS = "--net", "--uts", "--mount", "--pid"
_KEEP = 'read pid rest < /proc/self/stat; mount -t proc proc /proc && echo "$pid" && exec cat'
"""Tells its process id, as those see it who made the namespaces, and keeps them until its input ends."""


class CommandError(Exception):
    """A command that failed, and what it answered."""


class Hosts:
    """Hosts 0, 1, ... and the switch between them; made by `connected_hosts`."""

    def __init__(self, count: int, folder: Path, children: list[subprocess.Popen[bytes]]) -> None:
        self._folder, self._children = folder, children
        # An ordinary user may become root of a namespace of users, where that is allowed.
        unshare, enter = ([], []) if os.geteuid() == 0 else (["--map-root-user"], ["--user"])
        self._switch = _entered(self._keep(["unshare", *unshare]), *enter, "--preserve-credentials")
        self.names = [f"host{host}" for host in range(count)]
        book = ["127.0.0.1 localhost", *(f"{_address(host)} {name}" for host, name in enumerate(self.names))]
        (folder / "hosts").write_text("\n".join(book) + "\n")
        _run([*self._switch, "mount", "--bind", str(folder / "hosts"), "/etc/hosts"])
        _run([*self._switch, "ip", "link", "add", "name", "switch", "type", "bridge"])
        _run([*self._switch, "ip", "link", "set", "switch", "up"])
        self._hosts = [self._connected(host) for host in range(count)]

    def cut(self, host: int) -> None:
        """Pulls a host's cable out of the switch: nothing gets through any more, either way."""
        _run([*self._switch, "ip", "link", "set", f"port{host}", "down"])

    def restore(self, host: int) -> None:
        """Puts the cable back; connections of before go on if both ends still hold them."""
        _run([*self._switch, "ip", "link", "set", f"port{host}", "up"])

    def start(
        self, host: int, command: Sequence[str], variables: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        """Starts a command on a host, in this process's folder, with these variables in its environment."""
        cores = sorted(os.sched_getaffinity(0))
        core = ["taskset", "--cpu-list", str(cores[host % len(cores)])]
        with self._output(host).open("ab") as file:
            return self._child(
                [*self._hosts[host], *core, *command],
                env={**os.environ, **variables},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def told(self, host: int) -> str:
        """What the commands of a host have said."""
        return self._output(host).read_text(errors="replace")

    def has_told(self, host: int, sentence: str) -> bool:
        """Whether the commands of a host have said something."""
        return sentence in self.told(host)

    def _output(self, host: int) -> Path:
        return self._folder / f"{self.names[host]}.txt"

    def _connected(self, host: int) -> list[str]:
        """Makes a host and its cable; returns what runs a command there."""
        pid = self._keep([*self._switch, "unshare"])
        inside = [*self._switch, *_entered(pid)]
        cable = ["name", f"port{host}", "type", "veth", "peer", "name", CARD, "netns", pid]
        _run([*self._switch, "ip", "link", "add", *cable])
        _run([*self._switch, "ip", "link", "set", f"port{host}", "master", "switch", "up"])
        _run([*inside, "hostname", self.names[host]])
        _run([*inside, "ip", "link", "set", "lo", "up"])
        # Ranks listen at the card's first address, which is to be the one below.
        _run([*inside, "ip", "link", "set", "dev", CARD, "addrgenmode", "none"])
        _run([*inside, "ip", "address", "add", f"{_address(host)}/24", "dev", CARD])
        _run([*inside, "ip", "link", "set", CARD, "up"])
        return inside

    def _keep(self, unshare: Sequence[str]) -> str:
        """Makes namespaces that live until this process lets go of them, or ends; returns their process."""
        command = [*unshare, *_KINDS, "--fork", "--kill-child", "sh", "-c", _KEEP]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        keeper = self._child(command, **pipes)
        pid = keeper.stdout.readline().decode().strip()
        if not pid:
            raise CommandError(_told(command, keeper.communicate(timeout=PATIENCE)[1]))
        return pid

    def _child(self, command: Sequence[str], **how: object) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(command, **how)
        self._children.append(child)
        return child


@contextmanager
def connected_hosts(count: int, folder: Path) -> Iterator[Hosts]:
    """Hosts that reach each other; with all their processes they end with the context.

    Where this machine, or its user, cannot have any, the test is skipped with the reason.

    Args:
        folder: for what the hosts' commands say, and the file of the hosts' addresses.
    """
    missing = [
        name for name in ("unshare", "nsenter", "taskset", "mount", "ip") if shutil.which(name) is None
    ]
    if missing:
        pytest.skip(f"hosts need {', '.join(missing)}, which this machine has not")
    children: list[subprocess.Popen[bytes]] = []
    try:
        try:
            hosts = Hosts(count, folder, children)
        except CommandError as error:
            pytest.skip(f"hosts cannot be made here: {error}")
        yield hosts
    finally:
        for child in children:  # the first keeps the switch, and with it all others end
            _end(child)


def _address(host: int) -> str:
    return f"10.0.0.{host + 1}"


def _entered(pid: str, *how: str) -> list[str]:
    """What runs a command in the namespaces of a process, in the folder that it is called from."""
    return ["nsenter", *how, *_KINDS, f"--wd={os.getcwd()}", "--target", pid]


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
    if done.returncode != 0:
        raise CommandError(_told(command, done.stderr))


def _told(command: Sequence[str], answer: bytes) -> str:
    return f"{' '.join(command)}: {answer.decode(errors='replace').strip()}"


def _end(child: subprocess.Popen[bytes]) -> None:
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe:
            pipe.close()
    try:
        child.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait(PATIENCE)
