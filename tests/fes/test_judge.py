"""The judge: learns faces it can learn, comes back from its file, and refuses other files."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fes.errors import InputError
from fes.judge import FORMAT, JudgeConfig, load_judge, new_judge, save_judge, train_judge
from fes.pictures import to_float
from shards.index import Split

CONFIG = JudgeConfig()


def silent(done: int, total: int) -> None:
    """Tells nobody."""


class Relabelled:
    """A split with other labels."""

    def __init__(self, split: Split, labels: np.ndarray) -> None:
        self.split, self.labels = split, labels
        self.samples, self.shard_starts = split.samples, split.shard_starts
        self.resolution, self.channels = split.resolution, split.channels

    def image(self, position: int) -> np.ndarray:
        return self.split.image(position)


def test_a_judge_learns_expressions_of_people_it_never_saw(drawn_judge, drawn_index):
    test = drawn_index.split("test")
    assert new_judge(48, 1, seed=0).eval().score([test])[0] < 0.3 * 42  # a seventh is chance
    assert drawn_judge.score([test])[0] > 0.6 * 42
    assert not drawn_judge.training


def test_right_answers_are_counted_among_the_labelled(drawn_judge, drawn_index):
    test = drawn_index.split("test")
    seen = drawn_judge.read(torch.from_numpy(np.stack([test.image(p) for p in range(test.samples)]))).numpy()
    assert drawn_judge.score([test]) == ((seen == test.labels).sum(), test.samples)
    labels = np.where(np.arange(test.samples) < 30, -1, seen)
    labels[-3:] = (labels[-3:] + 1) % 7
    some, none = Relabelled(test, labels), Relabelled(test, np.full(test.samples, -1))
    assert drawn_judge.score([some]) == (9, 12)
    assert drawn_judge.score([some, none, Relabelled(test, seen)]) == (51, 54)
    with pytest.raises(InputError, match="held-out pictures have no labels"):
        drawn_judge.score([none])


def test_an_answer_does_not_depend_on_the_other_pictures(drawn_judge, drawn_index):
    test = drawn_index.split("test")
    images = torch.from_numpy(np.stack([test.image(p % test.samples) for p in range(300)]))
    together = drawn_judge.read(images)
    assert (together.dtype, together.shape) == (torch.int64, (300,))
    assert together[[0, 100, 299]].tolist() == [drawn_judge.read(images[[p]]).item() for p in (0, 100, 299)]


def test_unlabelled_pictures_are_passed_over_even_where_a_batch_has_no_others(drawn_index):
    train = drawn_index.split("train")
    labels = np.where(np.arange(train.samples) < 3, train.labels, -1)
    judge = new_judge(48, 1, seed=0)
    train_judge(judge, [Relabelled(train, labels)], [1.0], JudgeConfig(kimg=0.08, batch=8), silent)
    assert all(torch.isfinite(value).all() for value in judge.state_dict().values())


def test_sets_without_any_label_are_left_out_and_refused_alone(drawn_index):
    train = drawn_index.split("train")
    none = Relabelled(train, np.full(train.samples, -1))
    config, judges = JudgeConfig(kimg=0.032, batch=16), [new_judge(48, 1, seed=4) for _ in range(2)]
    train_judge(judges[0], [train], [1.0], config, silent)
    train_judge(judges[1], [none, train], [0.9, 0.1], config, silent)
    one, other = (judge.state_dict() for judge in judges)
    assert all(torch.equal(one[name], other[name]) for name in one)
    with pytest.raises(InputError, match="have no labels: a judge cannot learn"):
        train_judge(judges[0], [none, none], [1.0, 1.0], config, silent)


def test_the_same_seed_trains_the_same_judge_and_progress_is_told(drawn_index):
    config, told = JudgeConfig(kimg=0.064, batch=16), []
    judges = [new_judge(48, 1, seed=4) for _ in range(2)]
    for judge in judges:
        parts = [drawn_index.split("train")]
        train_judge(judge, parts, [1.0], config, lambda done, total: told.append((done, total)))
    one, other = (judge.state_dict() for judge in judges)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert told == 2 * [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert not torch.equal(one["classify.weight"], new_judge(48, 1, seed=4).classify.weight)


def test_a_new_judge_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    new_judge(48, 1, seed=4)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_judge_comes_back_from_its_file(drawn_judge, drawn_index, tmp_path):
    save_judge(tmp_path / "judge.safetensors", drawn_judge, CONFIG, 0.9, drawn_index.fingerprint)
    found = load_judge(tmp_path / "judge.safetensors")
    assert (found.resolution, found.channels, found.training) == (48, 1, False)
    x = to_float(torch.from_numpy(drawn_index.split("test").image(3)))[None]
    assert torch.equal(found(x), drawn_judge(x))


def test_what_is_no_judge_is_refused(snapshot_file, tmp_path):
    (tmp_path / "text").write_text("judge")
    save_file({"a": torch.zeros(2)}, tmp_path / "other")
    for path in (tmp_path / "none", tmp_path / "text", tmp_path / "other", tmp_path, snapshot_file):
        with pytest.raises(InputError, match=r"judge.*'fes judge train' makes one") as caught:
            load_judge(path)
        assert "\n" not in str(caught.value)


def test_a_damaged_judge_is_refused(drawn_judge, tmp_path):
    path = tmp_path / "judge.safetensors"
    save_judge(path, drawn_judge, CONFIG, 0.9, "data")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="is not a judge"):
        load_judge(path)


@pytest.mark.parametrize(
    "about",
    [
        None,
        "{",
        "[" * 100_000,
        "3",
        '{"resolution": 48}',
        '{"resolution": "48", "channels": 1}',
        '{"resolution": -1, "channels": 1}',
        '{"resolution": 48, "channels": 3}',
    ],
)
def test_a_judge_whose_description_is_missing_or_anothers_is_refused(drawn_judge, tmp_path, about):
    metadata = {"format": FORMAT} | ({} if about is None else {"judge": about})
    save_file(drawn_judge.state_dict(), tmp_path / "judge", metadata)
    with pytest.raises(InputError, match="is a damaged judge") as caught:
        load_judge(tmp_path / "judge")
    assert "\n" not in str(caught.value)


def test_a_judge_with_the_tensors_of_another_is_refused(tmp_path):
    about = '{"resolution": 48, "channels": 1}'
    save_file({"a": torch.zeros(2)}, tmp_path / "judge", {"format": FORMAT, "judge": about})
    with pytest.raises(InputError, match="is a damaged judge"):
        load_judge(tmp_path / "judge")


def test_pictures_of_another_shape_are_refused():
    judge = new_judge(48, 1, seed=0)
    judge.check_shape(48, 1)
    for shape in ((64, 1), (48, 3)):
        told = f"reads pictures of 48 px and 1 channels, .* --resolution {shape[0]} --channels {shape[1]}' "
        with pytest.raises(InputError, match=told):
            judge.check_shape(*shape)


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="cannot write"):
        save_judge(tmp_path / "none" / "judge", new_judge(48, 1, seed=0), CONFIG, 0.0, "")
