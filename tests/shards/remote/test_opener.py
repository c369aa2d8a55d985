"""Each kind of address, as the shelf fetches from it: servers, commands, files, and what fsspec opens."""

import hashlib
import sys
import threading
import time
from pathlib import Path

import pytest

from shards.remote.cache import Wanted
from tests.shards.remote.fetching import SIZE, contents_of, impatient, refusal, runs, wait_until


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


def test_a_command_that_fails_is_told_without_what_it_is_called_with(cache: Path) -> None:
    told = refusal(lambda: impatient("pipe:false --token secret {}", cache).document("index.json"))
    assert told.startswith("cannot fetch 'index.json' by pipe:false ...: tried 3 times")
    assert "secret" not in told


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
