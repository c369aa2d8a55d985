"""Runs that are killed, stopped, out of room or damaged, and that end as if nothing had happened."""

import hashlib
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fes import train
from fes.data.stream import Stream
from fes.draws import noise
from fes.saved.state import list_states
from tests.fes.launching import PATIENCE, REPOSITORY, run_ranks, started, torchrun, until
from tests.fes.numbered import Numbers
from tests.fes.rank import train_on_a_disk_that_hangs, train_with_small_files

BATCH, STATE_STEPS = 8, 5
TINY = f"""
batch: {BATCH}
critic_steps: 2
grid_faces: 2
shuffle_window: 64
model: {{latent_dim: 8, max_features: 32, min_features: 8, latent_critic_features: 16}}
stream: {{workers: 1}}
clock: {{tick_kimg: 0.04, snapshot_kimg: 1000, state_kimg: {STATE_STEPS * BATCH / 1000}}}
"""
CLOSING = "--stages.closing.autoencoder-rate", "0.002"
"""Rates of a stage that a run does not come to, unless it is told when that begins."""
ENDLESS = 10**6  # states
FSYNCS = 7  # of a state: five files, their folder, and the folder that this is put in

Command = Callable[..., list[str]]


@pytest.fixture
def command(drawn_folder: Path, tmp_path: Path) -> Command:
    """Arguments of a run in a folder, to the end of a number of states; each takes a few steps."""
    (tmp_path / "tiny.yaml").write_text(TINY)

    def of(run: Path, states: int, *more: str) -> list[str]:
        kimg = states * STATE_STEPS * BATCH / 1000
        settings = ["--config", str(tmp_path / "tiny.yaml"), "--data", str(drawn_folder)]
        return [*settings, "--run", str(run), "--clock.total-kimg", str(kimg), *more]

    return of


def newest(run: Path) -> int:
    """How many times a run's length between two states its newest state is from the beginning."""
    states = list_states(run)
    return round(float(states[-1].name.removeprefix("state-")) * 1000 / BATCH / STATE_STEPS) if states else 0


def digests(run: Path, states: int) -> dict[str, str]:
    """The sha256 of all that a run has learnt, after so many states."""
    folder = run / f"state-{states * STATE_STEPS * BATCH / 1000:010.3f}"
    names = "networks.safetensors", "average.safetensors", "players.pt"
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def uninterrupted(count: int, folder: Path, command: Command, states: int) -> dict[str, str]:
    """What a run has learnt that nothing disturbed."""
    run_ranks(count, folder, train.main, command(folder / "whole", states))
    return digests(folder / "whole", states)


@pytest.mark.parametrize("count", [1, 4])
def test_a_run_that_is_killed_again_and_again_ends_with_the_bits_of_one_that_is_not(
    count: int, command: Command, tmp_path: Path
) -> None:
    rng, run = random.Random(count), tmp_path / "run"
    for new_states in (1, 0, 2, 0, 1):
        before = newest(run)
        with started(count, tmp_path, train.main, command(run, ENDLESS)) as ranks:
            until(lambda least=before + new_states: newest(run) >= least, ranks)
            time.sleep(rng.uniform(0, 0.4))
            assert ranks.running
            ranks.kill()
    for number in rng.sample(range(1, FSYNCS), 2):
        before = newest(run)
        with started(count, tmp_path, train_on_a_disk_that_hangs, number, command(run, ENDLESS)) as ranks:
            until(lambda ranks=ranks: "the disk hangs" in ranks.out, ranks)
            ranks.kill()
        assert len(list(run.glob(".state-*.partial"))) == 1
        assert newest(run) == before

    last = list_states(run)[-1]
    states = newest(run) + 2
    ranks = run_ranks(count, tmp_path, train.main, command(run, states))
    assert f"goes on from {last}\n" in ranks.out
    assert ranks.err == ""
    assert list(run.glob(".state-*")) == []
    assert digests(run, states) == uninterrupted(count, tmp_path, command, states)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for two states, and not for three."""
    place = tmp_path / "disk"
    place.mkdir()
    call = ["mount", "-t", "tmpfs", "-o", "size=1800k", "tmpfs", str(place)]
    done = (
        subprocess.run(call, capture_output=True, text=True, check=False) if shutil.which("mount") else None
    )
    if done is None or done.returncode:
        pytest.skip(f"a small file system cannot be mounted: {done.stderr.strip() if done else 'no mount'}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.parametrize("count", [1, 2])
def test_a_full_disk_is_one_sentence_and_the_same_command_goes_on_when_there_is_room(
    count: int, command: Command, small_disk: Path, tmp_path: Path
) -> None:
    run = small_disk / "run"
    with started(count, tmp_path, train.main, command(run, 4)) as ranks:
        assert ranks.codes() == [2] * count
    kept = list_states(run)
    path = run / f"state-{3 * STATE_STEPS * BATCH / 1000:010.3f}"
    full = f"cannot write {path}: No space left on device; make room, and give the same command again\n"
    assert ranks.err.endswith(full)
    assert ranks.err.count("\n") == 1
    assert [newest(run), len(kept)] == [2, 2]
    assert list(run.glob(".state-*")) == []

    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    ranks = run_ranks(count, tmp_path, train.main, command(run, 4))
    assert f"goes on from {kept[-1]}\n" in ranks.out
    assert digests(run, 4) == uninterrupted(count, tmp_path, command, 4)


def test_a_state_that_is_too_large_for_the_file_system_leaves_the_one_before(
    command: Command, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run_ranks(1, tmp_path, train.main, command(run, 1))
    with started(1, tmp_path, train_with_small_files, 200_000, command(run, 2)) as ranks:
        assert ranks.codes() == [2]
    assert "File too large" in ranks.err
    assert (ranks.err.count("\n"), newest(run)) == (1, 1)
    run_ranks(1, tmp_path, train.main, command(run, 2))
    assert digests(run, 2) == uninterrupted(1, tmp_path, command, 2)


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 16
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("count", "damage", "name"), [(1, cut_short, "players.pt"), (2, flip_a_bit, "networks.safetensors")]
)
def test_a_damaged_newest_state_is_told_and_the_run_goes_on_from_the_one_before(
    count: int, damage: Callable[[Path], None], name: str, command: Command, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run_ranks(count, tmp_path, train.main, command(run, 2))
    before, last = list_states(run)
    damage(last / name)
    ranks = run_ranks(count, tmp_path, train.main, command(run, 3))
    assert (
        f"warning: the state {last} is damaged ({name} is not what was written, by its sum in SHA256SUMS); "
        f"it is kept as damaged-{last.name}\n"
    ) in ranks.out
    assert f"goes on from {before}\n" in ranks.out
    assert digests(run, 3) == uninterrupted(count, tmp_path, command, 3)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1])
def test_a_signal_to_all_ranks_saves_a_state_and_each_ends_with_its_code(
    number: signal.Signals, command: Command, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with started(2, tmp_path, train.main, command(run, ENDLESS)) as ranks:
        until(lambda: newest(run) >= 1, ranks)
        ranks.signal(number)  # as a scheduler or a terminal does: to the readers as well
        assert ranks.codes() == [128 + number] * 2
    assert ranks.err == ""
    assert ranks.out.count("and saved; the same command goes on from there") == 1
    last = list_states(run)[-1]
    ranks = run_ranks(2, tmp_path, train.main, command(run, newest(run) + 1))
    assert f"goes on from {last}\n" in ranks.out


def test_what_ends_torchrun_ends_its_ranks_with_a_state_saved(command: Command, tmp_path: Path) -> None:
    run = tmp_path / "run"
    script = str(REPOSITORY / "fes" / "train.py")
    with torchrun(2, script, *command(run, ENDLESS)) as process:
        words = iter(process.stdout.readline, "")
        assert next(word for word in words if "images/s" in word)
        process.terminate()
        rest, err = process.communicate(timeout=PATIENCE)
    assert process.returncode != 0, err
    assert rest.count("and saved; the same command goes on from there") == 1, err
    assert "train.py: " not in err
    run_ranks(2, tmp_path, train.main, command(run, newest(run) + 1))


@pytest.mark.parametrize(
    ("flag", "was", "value"),
    [
        ("optimiser.critic-rate", "0.0005", "0.01"),
        ("stages.closing.from-kimg", "None", str((STATE_STEPS - 1) * BATCH / 1000)),  # it has begun by then
        ("stages.closing.from-kimg", "None", str((STATE_STEPS + 1) * BATCH / 1000)),
    ],
    ids=["rate", "closing, at once", "closing, later"],
)
def test_a_change_that_is_allowed_is_told_and_used_from_there_on(
    flag: str, was: str, value: str, command: Command, tmp_path: Path
) -> None:
    begun, once, twice = (tmp_path / name for name in ("begun", "once", "twice"))
    run_ranks(1, tmp_path, train.main, command(begun, 1, *CLOSING))
    for copy in (once, twice):
        shutil.copytree(begun, copy)
    change = *CLOSING, f"--{flag}", value
    allowed = *change, "--allow-change", flag
    told = f"{flag.replace('-', '_')} was {was} and is {value}"
    with started(1, tmp_path, train.main, command(once, 3, *change)) as ranks:
        assert ranks.codes() == [2]
    assert f"{told}. Take the same settings" in ranks.err
    assert ranks.err.count("\n") == 1

    ranks = run_ranks(1, tmp_path, train.main, command(once, 3, *allowed))
    assert f"from here on: {told}\n" in ranks.out
    run_ranks(1, tmp_path, train.main, command(twice, 2, *allowed))
    ranks = run_ranks(1, tmp_path, train.main, command(twice, 3, *change))  # it is the run's own by now
    assert "from here on" not in ranks.out
    assert digests(once, 3) == digests(twice, 3)
    different = digests(once, 3).items() - uninterrupted(1, tmp_path, command, 3).items()
    assert len(different) == 3


def calls(work: Callable[[], object]) -> int:
    """How many functions some work calls, Python's and others."""
    count = 0

    def note(_: object, event: str, __: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("sets", [1, 2])
def test_the_first_batch_and_its_noise_cost_the_same_work_however_late_they_are(sets: int) -> None:
    samples = 10_000  # both steps have the same place in an epoch, and in a block of a mixture
    work = {}
    for step in (0, 10, 10 + 10**6):  # what is imported once is at the first
        stream = Stream([Numbers([samples])] * sets, seed=0, batch=10, window=100)
        work[step] = calls(lambda stream=stream, step=step: (stream[step], noise(0, step, 10, 8)))
    assert work[10] > 100
    assert work[10] == work[10 + 10**6]
