"""A judge's answers, and the shapes it is for."""

import numpy as np
import pytest
import torch

from fes.batch import to_float
from fes.errors import InputError
from fes.judge import new_judge
from tests.fes.judge.relabelled import Relabelled

KINDS = ("residual", "deep", "slim", "plain")


def images(index, count: int) -> torch.Tensor:
    test = index.split("test")
    return torch.from_numpy(np.stack([test.image(p % test.samples) for p in range(count)]))


def test_right_answers_are_counted_among_the_labelled(drawn_judge, drawn_index):
    test = drawn_index.split("test")
    seen = drawn_judge.read(images(drawn_index, test.samples)).numpy()
    assert drawn_judge.score([test]) == ((seen == test.labels).sum(), test.samples)
    counts = drawn_judge.confusion([Relabelled(test, np.minimum(test.labels, 1))])  # a row for each label
    assert counts.sum(1).tolist() == [6, 36, 0, 0, 0, 0, 0]
    assert counts.sum(0).tolist() == np.bincount(seen, minlength=7).tolist()
    labels = np.where(np.arange(test.samples) < 30, -1, seen)
    labels[-3:] = (labels[-3:] + 1) % 7
    some, none = Relabelled(test, labels), Relabelled(test, np.full(test.samples, -1))
    assert drawn_judge.score([some]) == (9, 12)
    assert drawn_judge.score([some, none, Relabelled(test, seen)]) == (51, 54)
    with pytest.raises(InputError, match="held-out pictures have no labels"):
        drawn_judge.score([none])


@pytest.mark.parametrize(("kind", "count"), [("residual", 20), ("plain", 300)])
def test_an_answer_does_not_depend_on_the_other_pictures(kind, count, drawn_index):
    judge, many = new_judge(kind, 48, 1, seed=0).eval(), images(drawn_index, count)
    probabilities = judge.probabilities(many)
    assert (probabilities.dtype, probabilities.shape) == (torch.float32, (count, 7))
    torch.testing.assert_close(probabilities.sum(1), torch.ones(count))
    read = judge.read(many)
    assert (read.dtype, read.shape) == (torch.int64, (count,))
    assert torch.equal(read, probabilities.argmax(1))
    for at in (0, count // 3, count - 1):
        torch.testing.assert_close(judge.probabilities(many[[at]])[0], probabilities[at])


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_what_the_last_layer_reads(kind, drawn_index):
    judge, some = new_judge(kind, 48, 1, seed=0).eval(), images(drawn_index, 5)
    features = judge.features(some)
    assert (features.dtype, features.shape) == (torch.float32, (5, judge.width))
    torch.testing.assert_close(judge.classify(features).softmax(1), judge.probabilities(some))


@pytest.mark.parametrize("kind", KINDS)
def test_a_trained_judge_answers_a_mirrored_picture_alike_and_one_in_training_does_not(kind, drawn_index):
    judge = new_judge(kind, 48, 1, seed=0).eval()
    x = to_float(images(drawn_index, 4))
    x[..., :20] = 1  # no face is as lopsided
    torch.testing.assert_close(judge(x.flip(3)), judge(x))
    judge.train()
    assert (judge(x.flip(3)) - judge(x)).abs().max() > 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_a_glance_is_half_of_the_look_at_a_picture_and_its_mirror_image(kind, drawn_index):
    judge = new_judge(kind, 48, 1, seed=0).eval()
    x = to_float(images(drawn_index, 4))
    one, mirrored = judge.glance(x), judge.glance(x.flip(3))
    torch.testing.assert_close((one + mirrored) / 2, judge(x))
    assert (one - mirrored).abs().max() > 1e-5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(48, 1), (64, 3), (96, 1), (256, 3)])
def test_judges_are_made_for_any_shape_and_a_seed(kind, shape):
    resolution, channels = shape
    before = torch.get_rng_state()
    judges = [new_judge(kind, resolution, channels, seed).eval() for seed in (4, 4, 5)]
    assert torch.equal(torch.get_rng_state(), before)
    x = torch.zeros(2, channels, resolution, resolution)
    one, same, other = (judge.classify.weight for judge in judges)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert judges[0](x).shape == (2, 7)


def test_a_larger_picture_takes_a_stage_more_for_about_the_same_work_per_stage():
    counts = [sum(p.numel() for p in new_judge("residual", n, 1, 0).parameters()) for n in (48, 64, 96, 256)]
    assert counts[0] == counts[1] < counts[2] < counts[3] < 1.1 * counts[0]


@pytest.mark.parametrize(("resolution", "most"), [(48, 256), (96, 64), (256, 9)])
def test_of_larger_pictures_fewer_are_read_at_a_time_so_that_memory_holds_them(resolution, most):
    judge, counts = new_judge("plain", resolution, 1, seed=0).eval(), []
    asked = judge._in_parts(
        torch.zeros(most + 3, 1, resolution, resolution, dtype=torch.uint8),
        lambda x: counts.append(len(x)) or x[:, 0, 0, 0],
    )
    assert (counts, len(asked)) == ([most, 3], most + 3)


def test_pictures_of_another_shape_are_refused():
    judge = new_judge("plain", 48, 1, seed=0)
    judge.check_shape(48, 1)
    for shape in ((64, 1), (48, 3)):
        told = f"reads pictures of 48 px and 1 channel, .* --resolution {shape[0]} --channels {shape[1]}' "
        with pytest.raises(InputError, match=told):
            judge.check_shape(*shape)
