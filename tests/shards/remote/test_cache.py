import errno
import hashlib
import os
import resource
import subprocess
import threading
import time
from pathlib import Path

import pytest

from fes.errors import InputError
from shards.remote.cache import Cache, Wanted


def shard_of(contents: bytes, name: str = "a.tar") -> Wanted:
    return Wanted(name, len(contents), hashlib.sha256(contents).hexdigest())


def put(cache: Cache, contents: bytes, keep: tuple[str, ...] = ()) -> Wanted:
    """Has a file made and read back, a little later than what came before."""
    time.sleep(0.01)
    shard = shard_of(contents)
    file = cache.obtain(shard, lambda part: os.write(part, contents), keep)
    assert os.pread(file, len(contents) + 1, 0) == contents
    os.close(file)
    return shard


def touch(cache: Cache, shard: Wanted) -> None:
    """Opens a file, a little later than what came before."""
    time.sleep(0.01)
    os.close(cache.find(shard))


def held(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def fail(_: int) -> None:
    raise AssertionError("was made though it is there")


def test_a_file_is_made_once_and_then_found(tmp_path):
    cache = Cache(tmp_path / "new" / "cache", 100)
    shard = put(cache, b"abc")
    assert cache.has(shard)
    os.close(cache.obtain(shard, fail))
    assert sorted(path.name for path in cache.folder.iterdir()) == sorted([shard.sha256, "lock"])


def test_what_was_opened_longest_ago_goes_first(tmp_path):
    cache = Cache(tmp_path, 30)
    shards = [put(cache, bytes([n]) * 10) for n in range(3)]
    for shard in (shards[1], shards[0], shards[2]):
        touch(cache, shard)
    put(cache, b"x" * 15)
    assert [cache.has(shard) for shard in shards] == [False, False, True]
    assert held(tmp_path) == 25


def test_what_is_wanted_soon_goes_last(tmp_path):
    cache = Cache(tmp_path, 30)
    shards = [put(cache, bytes([n]) * 10) for n in range(3)]
    put(cache, b"x" * 10, keep=(shards[0].sha256,))
    assert [cache.has(shard) for shard in shards] == [True, False, True]


def test_a_file_that_is_removed_can_still_be_read_where_it_is_open(tmp_path):
    cache = Cache(tmp_path, 10)
    shard = put(cache, b"a" * 10)
    file = cache.find(shard)
    put(cache, b"b" * 10)
    assert not cache.has(shard)
    assert os.pread(file, 10, 0) == b"a" * 10
    os.close(file)


def test_room_is_made_before_a_file_and_unfinished_ones_count_in_full(tmp_path):
    cache = Cache(tmp_path, 30)
    first, seen = put(cache, b"a" * 20), []
    shard = shard_of(b"b" * 20)

    def fill(part: int) -> None:
        seen.append((held(tmp_path), cache.has(first)))
        os.write(part, b"b" * 20)

    os.close(cache.obtain(shard, fill))
    assert seen == [(20, False)]


def test_two_files_that_do_not_fit_together_are_made_one_after_the_other(tmp_path):
    cache, most = Cache(tmp_path, 30), []

    def make(letter: bytes) -> None:
        contents = letter * 20

        def fill(part: int) -> None:
            time.sleep(0.1)
            most.append(held(tmp_path))
            os.write(part, contents)

        os.close(cache.obtain(shard_of(contents), fill))

    threads = [threading.Thread(target=make, args=(letter,)) for letter in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [20, 20, 20]


def test_threads_that_want_the_same_file_have_it_made_once(tmp_path):
    cache, made = Cache(tmp_path, 100), []
    shard = shard_of(b"abc")

    def fill(part: int) -> None:
        made.append(1)
        time.sleep(0.1)
        os.write(part, b"abc")

    threads = [
        threading.Thread(target=lambda: os.close(cache.obtain(shard, fill)), daemon=True) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert len(made) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([shard.sha256, "lock"])


def test_one_who_waits_makes_the_file_where_the_other_fails(tmp_path):
    cache, begun = Cache(tmp_path, 100), threading.Event()
    shard = shard_of(b"abc")

    def fail_late(_: int) -> None:
        begun.set()
        time.sleep(0.1)
        raise InputError("no")

    def try_it() -> None:
        with pytest.raises(InputError, match="no"):
            cache.obtain(shard, fail_late)

    thread = threading.Thread(target=try_it)
    thread.start()
    begun.wait()
    assert put(cache, b"abc") == shard
    thread.join()


def test_a_failure_leaves_nothing_behind(tmp_path):
    cache = Cache(tmp_path, 100)

    def fill(part: int) -> None:
        os.write(part, b"ab")
        raise InputError("no")

    with pytest.raises(InputError, match="no"):
        cache.obtain(shard_of(b"abc"), fill)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_what_a_killed_process_left_is_overwritten_or_removed(tmp_path):
    cache = Cache(tmp_path, 30)
    same, other = shard_of(b"a" * 10), shard_of(b"b" * 10)
    for shard in (same, other):
        (tmp_path / f"{shard.sha256}.part").write_bytes(b"?" * 25)
    put(cache, b"a" * 10)
    assert held(tmp_path) == 10


def test_a_damaged_file_is_made_anew(tmp_path):
    cache = Cache(tmp_path, 100)
    shard = put(cache, b"abc")
    (tmp_path / shard.sha256).write_bytes(b"a")
    assert not cache.has(shard)
    put(cache, b"abc")


def test_a_folder_that_is_emptied_meanwhile_costs_a_second_try(tmp_path):
    cache, tries = Cache(tmp_path / "cache", 100), []
    shard = shard_of(b"abc")

    def fill(part: int) -> None:
        tries.append(1)
        os.write(part, b"abc")
        if len(tries) == 1:
            for path in cache.folder.iterdir():
                path.unlink()
            (cache.folder / f"{shard.sha256}.part").write_bytes(b"???")

    file = cache.obtain(shard, fill)
    assert (os.read(file, 4), len(tries)) == (b"abc", 2)
    assert (cache.folder / shard.sha256).read_bytes() == b"abc"
    os.close(file)


def test_files_of_others_are_neither_counted_nor_removed(tmp_path):
    (tmp_path / "notes.txt").write_bytes(b"x" * 1000)
    cache = Cache(tmp_path, 10)
    put(cache, b"a" * 10)
    put(cache, b"b" * 10)
    assert (tmp_path / "notes.txt").exists()


def test_a_file_larger_than_the_cache_is_told(tmp_path):
    with pytest.raises(InputError, match=r"'a.tar' has 11 bytes, more than the 10 .* allow it at least 22"):
        Cache(tmp_path, 10).obtain(shard_of(b"a" * 11), fail)


def test_a_full_disk_is_told(tmp_path):
    def fill(_: int) -> None:
        with open("/dev/full", "wb", buffering=0) as full:
            full.write(b"x")

    with pytest.raises(InputError, match=r"the disk of the cache .* is full"):
        Cache(tmp_path, 10).obtain(shard_of(b"a"), fill)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_a_folder_that_cannot_be_used_is_told(tmp_path):
    (tmp_path / "cache").write_bytes(b"a file")
    for folder in (tmp_path / "cache", tmp_path / "cache" / "deeper"):
        cache = Cache(folder, 10)
        with pytest.raises(InputError, match=r"cannot use the cache .* choose another folder"):
            cache.find(shard_of(b"a"))
        with pytest.raises(InputError, match=r"cannot use the cache .* choose another folder"):
            cache.obtain(shard_of(b"a"), fail)


@pytest.fixture
def small_disk(tmp_path):
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)  # also where a file is still open


def test_a_cache_on_a_disk_that_can_only_be_read_gives_what_it_has(small_disk):
    cache = Cache(small_disk, 100)
    shard = put(cache, b"abc")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    file = cache.find(shard)
    assert os.read(file, 4) == b"abc"
    os.close(file)
    with pytest.raises(InputError, match=r"cannot use the cache .*Read-only file system"):
        cache.obtain(shard_of(b"b"), fail)


def test_too_many_open_files_are_told(tmp_path):
    cache = Cache(tmp_path, 10)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = os.dup(0)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (taken, limits[1]))
        with pytest.raises(InputError, match=os.strerror(errno.EMFILE)):
            cache.obtain(shard_of(b"a"), fail)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        os.close(taken)


def test_a_file_is_forgotten_unless_another_has_taken_its_place(tmp_path):
    cache = Cache(tmp_path, 100)
    shard = put(cache, b"abc")
    first = cache.find(shard)
    cache.forget(shard, first)
    assert not cache.has(shard)
    put(cache, b"abc")
    cache.forget(shard, first)
    assert cache.has(shard)
    os.close(first)
