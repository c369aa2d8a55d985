"""Halfway: a judge's training that was stopped anywhere ends as one that was not, or says why it cannot."""

import dataclasses
import hashlib
import io
import json

import numpy as np
import pytest
import torch

from fes.errors import DamagedSample, InputError, Lost
from fes.judge import Halfway, Judge, JudgeConfig, new_judge, train_judge
from fes.judge import halfway as module
from tests.fes.judge.relabelled import Relabelled

CONFIG = JudgeConfig("plain", kimg=0.096, batch=16, noise=0.5, precision="no")
ABOUT = {"data": "sum", **dataclasses.asdict(CONFIG)}


class StopsAt:
    """A signal comes before a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def before(self, step: int) -> bool:
        return step == self.step

    def waited(self, get):
        return get()


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture(scope="module")
def parts(drawn_index):
    return [drawn_index.split("train")]


@pytest.fixture(scope="module")
def whole(parts) -> dict[str, torch.Tensor]:
    judge = new_judge("plain", 48, 1, seed=0)
    assert train_judge(judge, parts, [1.0], CONFIG, lambda *_: None)
    return judge.state_dict()


def go_on(path, parts, stop: int = -1, progress=lambda *_: None) -> tuple[Judge, bool, Halfway]:
    judge, halfway = new_judge("plain", 48, 1, seed=0), Halfway(path, ABOUT, StopsAt(stop))
    return judge, train_judge(judge, parts, [1.0], CONFIG, progress, halfway), halfway


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_a_training_that_was_stopped_twice_ends_with_the_weights_of_one_that_was_not(parts, whole, tmp_path):
    path, told = tmp_path / "a.safetensors", []
    assert [go_on(path, parts, stop)[1] for stop in (2, 5)] == [False, False]
    judge, trained, halfway = go_on(path, parts, progress=lambda *at: told.append(at))
    assert trained
    assert told == [(96, 96)]
    assert same(judge.state_dict(), whole)
    halfway.remove()
    assert list(tmp_path.iterdir()) == []


def test_one_that_was_killed_goes_on_from_what_was_written_last(parts, whole, tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    monkeypatch.setattr(module, "SECONDS", -1.0)

    def killed(done: int, total: int) -> None:
        if done == 64:
            raise Killed

    with pytest.raises(Killed):
        go_on(path, parts, progress=killed)
    assert Halfway(path, ABOUT, StopsAt(-1)).step == 3
    assert same(go_on(path, parts)[0].state_dict(), whole)


def test_a_finished_one_is_not_trained_again_before_it_is_written(parts, whole, tmp_path):
    path, told = tmp_path / "a.safetensors", []
    go_on(path, parts)
    judge, trained, _ = go_on(path, parts, progress=lambda *at: told.append(at))
    assert (trained, told) == (True, [])
    assert same(judge.state_dict(), whole)


class Broken(Relabelled):
    """A data set whose pictures cannot be read from some time on."""

    left = 40

    def image(self, position):
        self.left -= 1
        if self.left < 0:
            raise DamagedSample("the picture is damaged")
        return super().image(position)


def test_what_was_learnt_before_a_picture_that_cannot_be_read_is_kept(parts, whole, tmp_path):
    path, judge = tmp_path / "a.safetensors", new_judge("plain", 48, 1, seed=0)
    halfway, broken = Halfway(path, ABOUT, StopsAt(-1)), Broken(parts[0], parts[0].labels)
    with pytest.raises(DamagedSample, match="the picture is damaged"):
        train_judge(judge, [broken], [1.0], CONFIG, lambda *_: None, halfway)
    assert 0 < Halfway(path, ABOUT, StopsAt(-1)).step < CONFIG.steps
    assert same(go_on(path, parts)[0].state_dict(), whole)


def test_where_nothing_can_be_read_nothing_is_kept(parts, tmp_path):
    halfway, broken = (
        Halfway(tmp_path / "a.safetensors", ABOUT, StopsAt(-1)),
        Broken(parts[0], parts[0].labels),
    )
    broken.left = 0
    with pytest.raises(DamagedSample):
        train_judge(new_judge("plain", 48, 1, seed=0), [broken], [1.0], CONFIG, lambda *_: None, halfway)
    assert list(tmp_path.iterdir()) == []


class GivesUp(StopsAt):
    """A signal comes while data are waited for."""

    left = 3

    def waited(self, get):
        self.left -= 1
        if self.left < 0:
            raise Lost("SIGTERM came", 143)
        return get()


def test_a_signal_that_ends_the_waiting_for_data_leaves_what_was_learnt(parts, whole, tmp_path):
    path, judge = tmp_path / "a.safetensors", new_judge("plain", 48, 1, seed=0)
    with pytest.raises(Lost, match="SIGTERM came"):
        train_judge(judge, parts, [1.0], CONFIG, lambda *_: None, Halfway(path, ABOUT, GivesUp(-1)))
    assert Halfway(path, ABOUT, StopsAt(-1)).step == 3
    assert same(go_on(path, parts)[0].state_dict(), whole)


def test_a_signal_in_the_last_step_stops_too(parts, whole, tmp_path):
    path = tmp_path / "a.safetensors"
    assert not go_on(path, parts, stop=CONFIG.steps)[1]
    assert Halfway(path, ABOUT, StopsAt(-1)).step == CONFIG.steps
    assert same(go_on(path, parts)[0].state_dict(), whole)


def test_a_full_disk_takes_no_judge_away_that_is_trained(parts, whole, tmp_path, monkeypatch):
    def full(path, content):
        raise InputError("cannot write: the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(module, "write_file", full)
        judge, trained, halfway = go_on(tmp_path / "a.safetensors", parts)
    assert trained
    assert (halfway.step, list(tmp_path.iterdir())) == (0, [])
    assert same(judge.state_dict(), whole)


def test_a_single_bit_that_is_not_what_was_written_is_noticed(parts, tmp_path):
    path = tmp_path / "a.safetensors"
    halfway = go_on(path, parts, stop=2)[2].path
    whole = halfway.read_bytes()
    for at in np.linspace(0, len(whole) - 1, 30).astype(int):
        halfway.write_bytes(whole[:at] + bytes([whole[at] ^ 64]) + whole[at + 1 :])
        with pytest.raises(InputError, match="by its sum it is not what was written"):
            Halfway(path, ABOUT, StopsAt(-1))


def test_another_training_does_not_go_on_from_it_and_is_told_what_differs(parts, tmp_path):
    path = tmp_path / "a.safetensors"
    go_on(path, parts, stop=2)
    with pytest.raises(
        InputError, match=r"data was sum and is other; kimg was 0\.096 and is 5\. Take the same"
    ):
        Halfway(path, ABOUT | {"data": "other", "kimg": 5}, StopsAt(-1))
    assert Halfway(tmp_path / "b.safetensors", ABOUT, StopsAt(-1)).step == 0


@pytest.mark.parametrize("content", [b"", b"PK", b"something else", "cut"])
def test_a_damaged_one_is_told_and_left_as_it_is(parts, tmp_path, content):
    path = tmp_path / "a.safetensors"
    halfway = go_on(path, parts, stop=2)[2].path
    content = halfway.read_bytes()[:-200] if content == "cut" else content
    halfway.write_bytes(content)
    with pytest.raises(InputError, match=r"halfway cannot be gone on from .*: remove it to train from the"):
        Halfway(path, ABOUT, StopsAt(-1))
    assert halfway.read_bytes() == content


def test_nothing_but_tensors_and_plain_values_is_loaded(parts, tmp_path):
    path = tmp_path / "a.safetensors"
    content = io.BytesIO()
    torch.save({"about": json.dumps(ABOUT), "step": 1, "judge": Killed()}, content)
    digest = hashlib.sha256(content.getvalue()).hexdigest()
    path.with_name("a.safetensors.halfway").write_bytes(f"{digest}\n".encode() + content.getvalue())
    with pytest.raises(InputError, match=r"cannot be gone on from \(UnpicklingError"):
        Halfway(path, ABOUT, StopsAt(-1))
