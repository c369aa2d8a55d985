import fcntl
import hashlib
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fes.errors import InputError
from shards.remote import shelf as remote
from shards.remote.cache import LOCK_NAME, Wanted
from shards.remote.shelf import CachedShards
from tests.shards.remote.unreliable_server import (
    DROP,
    HALF,
    LONGER,
    STALL,
    WRONG,
    UnreliableServer,
    serving,
)

SIZE = 300_000
LIMIT = 10 * SIZE


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server() -> Iterator[UnreliableServer]:
    with serving() as server:
        yield server


@pytest.fixture
def shards(server: UnreliableServer) -> list[Wanted]:
    """What the server holds: eight shards of equal size."""
    return [publish(server, f"{n}.tar", bytes([n]) * SIZE) for n in range(8)]


def publish(server: UnreliableServer, name: str, contents: bytes) -> Wanted:
    server.files[name] = contents
    return Wanted(name, len(contents), hashlib.sha256(contents).hexdigest())


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def cached(server: UnreliableServer, cache: Path) -> CachedShards:
    return impatient(server.address, cache)


def impatient(base: str, cache: Path, **options: float) -> CachedShards:
    return CachedShards(
        base, cache, **{"limit_bytes": LIMIT, "patience": 0.3, "attempts": 3, "pause": 0.01, **options}
    )


def contents_of(cached: CachedShards, shard: Wanted) -> bytes:
    file = cached.open(*shard)
    try:
        return os.pread(file, shard.size + 1, 0)
    finally:
        os.close(file)


def refusal(act: Callable[[], object]) -> str:
    """The one sentence that something is refused with."""
    with pytest.raises(InputError) as caught:
        act()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def held(cache: Path) -> int:
    """What the files in the cache have in sum, at a time when none comes or goes."""
    if not cache.exists():
        return 0
    with open(cache / LOCK_NAME, "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return sum(map(size_of, cache.iterdir()))


def size_of(path: Path) -> int:
    """0 for a part that was given up meanwhile: that asks for no lock."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def unfinished(cache: Path) -> list[str]:
    return [path.name for path in cache.glob("*.part")]


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.005)


def runs(process: int) -> bool:
    """Whether a process is there and is not a zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children() -> set[str]:
    """The processes that this one started and has not seen the end of, dead ones too."""
    return {
        child for file in Path("/proc/self/task").glob("*/children") for child in file.read_text().split()
    }


def test_a_shard_is_fetched_once_and_then_read_from_the_cache(server, shards, cached):
    assert contents_of(cached, shards[1]) == server.files["1.tar"]
    assert contents_of(cached, shards[1]) == server.files["1.tar"]
    assert server.requests["1.tar"] == 1
    assert server.headers[0]["User-Agent"] == "fes"


@pytest.mark.parametrize("fault", [DROP, STALL, HALF, WRONG, LONGER, 500, 503, 429])
def test_a_shard_that_comes_badly_is_asked_for_again(server, shards, cached, cache, fault):
    server.faults["1.tar"] = [fault, fault]
    assert contents_of(cached, shards[1]) == server.files["1.tar"]
    assert server.requests["1.tar"] == 3
    assert unfinished(cache) == []


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (DROP, f"the connection ended {SIZE // 2} bytes too early"),
        (STALL, "no byte came for 0.3 s"),
        (HALF, f"the file ended after {SIZE // 2} of {SIZE} bytes"),
        (WRONG, "the sha256 was not the one in the index"),
        (LONGER, f"more than the {SIZE} bytes that the index tells came"),
        (503, "the server answered 503 Service Unavailable"),
    ],
)
def test_what_fails_every_time_is_told_once(server, shards, cached, cache, fault, reason):
    server.faults["1.tar"] = [fault] * 9
    told = refusal(lambda: cached.open(*shards[1]))
    assert told.startswith(
        f"cannot fetch {server.address}/1.tar: tried 3 times, and the last time {reason}; check the"
    )
    assert server.requests["1.tar"] == 3
    assert held(cache) == 0


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_shard_that_is_not_there_is_told_at_once(server, shards, cached, status):
    server.faults["1.tar"] = [status] * 9
    told = refusal(lambda: cached.open(*shards[1]))
    assert f"{server.address}/1.tar: the server answered {status}" in told
    assert "check the address and the right to read it" in told
    assert server.requests["1.tar"] == 1


def test_the_pauses_between_attempts_double(server, shards, cache):
    server.faults["1.tar"] = [503] * 3
    begun = time.monotonic()
    contents_of(impatient(server.address, cache, attempts=4, pause=0.05), shards[1])
    assert time.monotonic() - begun >= 0.35


def test_a_server_that_is_not_there_is_told(cache):
    cached = impatient("http://127.0.0.1:9", cache)
    assert "tried 3 times, and the last time Connection refused" in refusal(
        lambda: cached.document("index.json")
    )


@pytest.mark.parametrize(
    "base", ["http://127.0.0.1:port/set", "http://127.0.0.1:99999999/set", "http://\u2603:x/"]
)
def test_an_address_that_cannot_be_asked_is_told(cache, base):
    refusal(lambda: impatient(base, cache).document("index.json"))


def test_a_folder_may_have_any_name_and_a_signature(server, shards, cache):
    server.files["fe%20%C3%A9/1.tar"] = server.files["1.tar"]
    cached = impatient(f"{server.address}/fe é/?signature=a/b", cache)
    assert contents_of(cached, shards[1]) == server.files["1.tar"]


def test_a_password_goes_to_the_server_and_into_no_message(server, shards, cache):
    cached = impatient(server.address.replace("//", "//me:sec%40ret@"), cache)
    server.faults["1.tar"] = [403]
    assert "sec" not in refusal(lambda: cached.open(*shards[1]))
    assert server.headers[0]["Authorization"] == "Basic bWU6c2VjQHJldA=="


def test_a_document_is_fetched_anew_each_time_unless_its_sha256_is_known(server, cached):
    server.faults["index.json"] = [503, DROP]
    known = publish(server, "index.json", b"[1]")
    assert cached.document("index.json") == b"[1]"
    assert cached.document(*known) == b"[1]"
    server.files["index.json"] = b"[2]"
    assert cached.document("index.json") == b"[2]"
    assert cached.document(*known) == b"[1]"


def test_a_document_without_end_is_refused(server, cached, monkeypatch):
    monkeypatch.setattr(remote, "DOCUMENT_LIMIT_BYTES", 10)
    publish(server, "index.json", b"x" * 11)
    assert "'index.json' has more than 10 bytes" in refusal(lambda: cached.document("index.json"))


@pytest.mark.parametrize(
    "change", [{"name": "../1.tar"}, {"sha256": "../../x"}, {"sha256": None}, {"size": "3"}]
)
def test_an_index_that_would_lead_elsewhere_is_refused(server, shards, cached, cache, change):
    refusal(lambda: cached.open(*shards[1]._replace(**change)))
    assert not server.requests
    assert held(cache) == 0


def test_a_shard_larger_than_the_cache_is_told(server, shards, cache):
    cached = impatient(server.address, cache, limit_bytes=SIZE - 1)
    assert f"'1.tar' has {SIZE} bytes, more than the {SIZE - 1}" in refusal(lambda: cached.open(*shards[1]))
    assert not server.requests


# Other kinds of addresses


def test_a_command_writes_the_file_it_is_asked_for(tmp_path, server, shards, cache):
    (tmp_path / "1.tar").write_bytes(server.files["1.tar"])
    cached = impatient(f"pipe:cat '{tmp_path}'/{{}} | cat", cache)
    assert contents_of(cached, shards[1]) == server.files["1.tar"]
    assert cached.document("1.tar") == server.files["1.tar"]


def test_a_command_that_fails_is_tried_again_and_told_by_its_last_words(tmp_path, shards, cache, capfd):
    cached = impatient(f"pipe:echo x >> {tmp_path}/log; echo oh {{}} >&2; exit 3", cache)
    told = refusal(lambda: cached.open(*shards[1]))
    assert "tried 3 times, and the last time the command ended with exit code 3 (oh 1.tar)" in told
    assert (tmp_path / "log").read_text() == "x\n" * 3
    assert capfd.readouterr() == ("", "")


def test_a_program_that_is_not_there_is_told_at_once(tmp_path, shards, cache):
    cached = impatient(f"pipe:echo x >> {tmp_path}/log; no-such-program {{}}", cache)
    assert "no-such-program" in refusal(lambda: cached.open(*shards[1]))
    assert (tmp_path / "log").read_text() == "x\n"


@pytest.mark.parametrize("after", ["printf abc; sleep 100 | cat", "exec >&-; sleep 100"])
def test_a_command_that_stalls_is_ended_with_all_it_started(tmp_path, shards, cache, after):
    cached = impatient(
        f"pipe:(echo $$; sh -c 'echo $PPID') >> {tmp_path}/log; {after}; : {{}}", cache, attempts=2
    )
    begun = time.monotonic()
    assert "0.3 s" in refusal(lambda: cached.open(*shards[1]))
    assert 0.6 <= time.monotonic() - begun < 3
    started = [int(line) for line in (tmp_path / "log").read_text().split()]
    assert len(started) == 4
    wait_until(lambda: not any(map(runs, started)))


def test_a_command_that_gives_too_much_is_ended(tmp_path, shards, cache):
    cached = impatient(f"pipe:echo $$ >> {tmp_path}/log; cat /dev/zero; : {{}}", cache, attempts=1)
    assert "more than" in refusal(lambda: cached.open(*shards[1]))
    wait_until(lambda: not runs(int((tmp_path / "log").read_text())))


@pytest.mark.parametrize("form", ["file:{}", "file://{}", "file://localhost{}", "file:{}/"])
def test_a_file_is_copied_into_the_cache(tmp_path, cache, form):
    folder = tmp_path / "a b"
    folder.mkdir()
    (folder / "x.tar").write_bytes(b"abc")
    shard = Wanted("x.tar", 3, hashlib.sha256(b"abc").hexdigest())
    base = form.format(str(folder).replace(" ", "%20"))
    assert contents_of(impatient(base, cache), shard) == b"abc"
    assert "No such file" in refusal(lambda: impatient(base, cache).document("y.tar"))


def test_other_addresses_are_read_by_fsspec(server, shards, cache):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/1.tar", server.files["1.tar"])
    cached = impatient("memory://bucket", cache)
    assert contents_of(cached, shards[1]) == server.files["1.tar"]
    assert cached.document("1.tar") == server.files["1.tar"]
    assert "cannot fetch memory://bucket/2.tar" in refusal(lambda: cached.open(*shards[2]))
    memory.pipe("/bucket/3.tar", b"")
    assert f"the file ended after 0 of {SIZE} bytes" in refusal(lambda: cached.open(*shards[3]))


def test_fsspec_is_not_waited_for_longer_than_patience(shards, cache):
    fsspec = pytest.importorskip("fsspec")
    released = threading.Event()

    class Silent(fsspec.AbstractFileSystem):
        protocol = "silent"

        def open(self, path: str, *_: object, **__: object) -> None:
            released.wait()
            raise RuntimeError("late")

    fsspec.register_implementation("silent", Silent, clobber=True)
    told = refusal(lambda: impatient("silent://bucket", cache).open(*shards[1]))
    assert "tried 3 times, and the last time no byte came for 0.3 s" in told
    released.set()


def test_what_has_to_be_installed_for_an_address_is_told(cache, monkeypatch):
    pytest.importorskip("fsspec")
    told = refusal(lambda: impatient("nonsense://bucket", cache).document("index.json"))
    assert "nonsense: addresses are not known; give a command" in told
    monkeypatch.setitem(sys.modules, "fsspec", None)
    told = refusal(lambda: impatient("s3://bucket/set", cache).document("index.json"))
    assert "cannot fetch s3://bucket/set/index.json: what reads s3: addresses is not installed" in told
    assert "pip install fsspec s3fs, or give a command" in told


# Fetching ahead


def test_shards_are_fetched_ahead_as_far_as_half_of_the_cache_and_then_as_they_are_opened(
    server, shards, cache
):
    cached = impatient(server.address, cache, limit_bytes=6 * SIZE)
    cached.ahead(shards)
    wait_until(lambda: sum(server.requests.values()) == 3 and not unfinished(cache))
    time.sleep(0.1)
    assert sorted(server.order) == ["0.tar", "1.tar", "2.tar"]
    assert set(server.order[:2]) == {"0.tar", "1.tar"}
    contents_of(cached, shards[0])
    wait_until(lambda: server.requests["3.tar"] == 1)
    assert "4.tar" not in server.requests


def test_reading_in_order_fetches_every_shard_once_within_the_limit(server, shards, cache):
    cached = impatient(server.address, cache, limit_bytes=4 * SIZE)
    cached.ahead(shards)
    for shard in shards:
        assert contents_of(cached, shard) == server.files[shard.name]
        assert held(cache) <= 4 * SIZE
    assert set(server.requests.values()) == {1}
    assert len(server.requests) == len(shards)


def test_what_fails_in_the_background_is_tried_and_told_when_it_is_opened(server, shards, cached):
    server.faults["0.tar"] = [404, 404]
    cached.ahead(shards[:3])
    wait_until(lambda: len(server.requests) == 3)
    time.sleep(0.05)
    assert server.requests["0.tar"] == 1
    assert "404" in refusal(lambda: cached.open(*shards[0]))
    assert contents_of(cached, shards[0]) == server.files["0.tar"]


def test_nonsense_asked_for_ahead_is_told_when_it_is_opened(server, shards, cached):
    bad = shards[0]._replace(sha256="../x")
    cached.ahead([bad, shards[1]])
    wait_until(lambda: server.requests["1.tar"] == 1)
    assert "sha256" in refusal(lambda: cached.open(*bad))


def test_what_is_asked_for_ahead_takes_the_place_of_what_was(server, shards, cache):
    server.delay = 0.2
    cached = impatient(server.address, cache)
    cached.ahead(shards[:4])
    wait_until(lambda: sum(server.requests.values()) == 2)
    cached.ahead(shards[6:])
    wait_until(lambda: server.requests["7.tar"] == 1)
    time.sleep(0.1)
    assert sorted(server.order) == ["0.tar", "1.tar", "6.tar", "7.tar"]


def test_the_threads_that_fetch_ahead_end_when_nothing_is_left(server, shards, cached):
    before = set(threading.enumerate())
    cached.ahead(shards[:2])
    wait_until(lambda: len(server.requests) == 2)
    fetching = "_run"
    wait_until(lambda: not any(fetching in thread.name for thread in set(threading.enumerate()) - before))


def test_a_program_ends_at_once_and_silently_while_it_fetches_ahead(server, shards, cache):
    server.faults["0.tar"] = server.faults["1.tar"] = [STALL]
    program = (
        "import pathlib, time; from shards.remote.shelf import CachedShards\n"
        f"cached = CachedShards({server.address!r}, pathlib.Path({str(cache)!r}), limit_bytes={LIMIT})\n"
        f"cached.ahead({[tuple(shard) for shard in shards]}); time.sleep(0.3)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=10)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert server.stalled.is_set()


# Several processes


def open_at_once(cached: CachedShards, shard: Wanted, barrier: object, contents: object) -> None:
    barrier.wait()
    contents.put(contents_of(cached, shard))


def only_open(cached: CachedShards, shard: Wanted) -> None:
    contents_of(cached, shard)


def open_and_go_on(cached: CachedShards, shards: list[Wanted], contents: object) -> None:
    cached.ahead(shards)
    contents.put([contents_of(cached, shard) for shard in shards])


def test_processes_that_want_the_same_shard_fetch_it_once(server, shards, cache):
    cached = impatient(server.address, cache, patience=60)
    spawning = multiprocessing.get_context("spawn")
    server.delay = 0.2
    barrier, contents = spawning.Barrier(3), spawning.Queue()
    processes = [
        spawning.Process(target=open_at_once, args=(cached, shards[1], barrier, contents)) for _ in range(3)
    ]
    for process in processes:
        process.start()
    assert [contents.get(timeout=20) for _ in processes] == [server.files["1.tar"]] * 3
    for process in processes:
        process.join()
    assert server.requests["1.tar"] == 1


def test_when_a_process_that_fetches_is_killed_those_who_wait_go_on(server, shards, cache):
    server.faults["1.tar"] = [STALL]
    patient = impatient(server.address, cache, patience=60)
    process = multiprocessing.get_context("spawn").Process(target=only_open, args=(patient, shards[1]))
    process.start()
    assert server.stalled.wait(20)
    waiting = threading.Thread(target=contents_of, args=(patient, shards[1]))
    waiting.start()
    time.sleep(0.1)
    assert (server.requests["1.tar"], waiting.is_alive()) == (1, True)
    assert held(cache) == SIZE
    os.kill(process.pid, signal.SIGKILL)
    waiting.join(5)
    process.join()
    assert not waiting.is_alive()
    assert server.requests["1.tar"] == 2
    assert contents_of(patient, shards[1]) == server.files["1.tar"]
    assert unfinished(cache) == []


def test_a_killed_process_takes_its_command_along(tmp_path, shards, cache):
    log = tmp_path / "log"
    command = f"pipe:echo $$ > {log}.new; mv {log}.new {log}; sleep 100; : {{}}"
    patient = impatient(command, cache, patience=60)
    process = multiprocessing.get_context("spawn").Process(target=only_open, args=(patient, shards[1]))
    process.start()
    wait_until(log.exists)
    started = int(log.read_text())
    assert runs(started)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    wait_until(lambda: not runs(started))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_amid_fetching_fetches_on_its_own(server, shards, cached):
    forking = multiprocessing.get_context("fork")
    server.delay = 0.05
    cached.ahead(shards[:4])
    contents = forking.Queue()
    process = forking.Process(target=open_and_go_on, args=(cached, shards, contents))
    process.start()
    assert contents.get(timeout=10) == [server.files[shard.name] for shard in shards]
    process.join()
    for shard in shards:
        contents_of(cached, shard)
    assert set(server.requests.values()) == {1}


def test_it_is_not_held_up_by_what_it_fetches_ahead_and_pickles_meanwhile(server, shards, cache):
    server.faults["0.tar"] = [STALL]
    cached = impatient(server.address, cache, patience=60)
    cached.ahead(shards[:1])
    assert server.stalled.wait(10)
    copy = pickle.loads(pickle.dumps(cached))
    assert contents_of(cached, shards[1]) == server.files["1.tar"]
    copy.ahead(shards[1:3])
    assert contents_of(copy, shards[2]) == server.files["2.tar"]


def test_nothing_stays_open(tmp_path, server, shards, cache):
    (tmp_path / "1.tar").write_bytes(server.files["1.tar"])
    server.faults["0.tar"] = [DROP, STALL, 503]
    server.faults["2.tar"] = [404]
    bases = (server.address, f"pipe:cat {tmp_path}/{{}}", f"file:{tmp_path}")

    def try_all() -> None:
        for base in bases:
            cached = impatient(base, cache, limit_bytes=SIZE)
            contents_of(cached, shards[1])
            for shard in (shards[0], shards[2]):
                refusal(lambda cached=cached, shard=shard: cached.open(*shard))

    before, children_before = os.listdir("/proc/self/fd"), children()
    try_all()
    # One is the server's own: the connection that it holds on to in silence.
    wait_until(lambda: len(os.listdir("/proc/self/fd")) <= len(before) + 1)
    assert children() == children_before


def test_a_command_that_fails_is_told_without_what_it_is_called_with(cache: Path) -> None:
    told = refusal(lambda: impatient("pipe:false --token secret {}", cache).document("index.json"))
    assert told.startswith("cannot fetch 'index.json' by pipe:false ...: tried 3 times")
    assert "secret" not in told
