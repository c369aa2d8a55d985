"""Halfway: a judge's training that was stopped anywhere ends as one that was not, or says why it cannot."""

import dataclasses

import pytest
import torch

from fes.errors import DamagedSample, InputError
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
    torch.save({"about": "{}", "step": 1, "judge": Killed()}, path.with_name("a.safetensors.halfway"))
    with pytest.raises(InputError, match="cannot be gone on from"):
        Halfway(path, ABOUT, StopsAt(-1))
