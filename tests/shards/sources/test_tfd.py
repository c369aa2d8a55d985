"""The Toronto Face Database: pictures, labels, people and folds, row by row, and what is no such file."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io

from fes.errors import InputError
from shards.sources import tfd
from shards.sources.tfd import TfdSource, read_tfd
from tests.shards.sources.mat_files import FORMATS, ROWS, SIDE, Variables, cell, found, pictures, write


def splits(source: TfdSource) -> list[str]:
    return [sample.split for sample in source.samples]


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_upright_pictures_with_labels_splits_people_and_rows(
    form: str, variables: Variables, tmp_path: Path
) -> None:
    source = read_tfd(write(tmp_path, variables, form), fold=1)
    assert np.array_equal(pictures(source), variables["images"][..., None])
    assert pictures(source).dtype == np.uint8
    assert [sample.label for sample in source.samples] == [0, 1, 2, 3, 4, 5, 6, -1, -1]
    assert splits(source) == ["train", "valid", "test"] * 2 + ["train"] * 3
    assert [sample.identity for sample in source.samples] == [900, 17, 17, 3, 44, 45, -1, -1, -1]
    assert [sample.origin for sample in source.samples] == list(range(1, 10))
    assert source.samples[0].details == {"row": 1, "identity": 900}
    assert source.samples[6].details == {"row": 7}
    assert (source.name, source.unit, source.crop, source.findings) == ("tfd", "rows", None, [])


@pytest.mark.parametrize("form", FORMATS)
def test_pictures_come_in_the_order_they_are_asked_for(
    form: str, variables: Variables, tmp_path: Path
) -> None:
    source = read_tfd(write(tmp_path, variables, form), fold=1)
    assert source.read([]) == []
    chosen = source.read([4, 1, 4])
    assert [picture.shape for picture in chosen] == [(SIDE, SIDE, 1)] * 3
    assert np.array_equal(np.stack(chosen)[..., 0], variables["images"][[4, 1, 4]])


@pytest.mark.parametrize("fold", range(1, 6))
def test_a_fold_is_a_column(fold: int, variables: Variables, tmp_path: Path) -> None:
    source = read_tfd(write(tmp_path, variables), fold=fold)
    names = ["train", "train", "valid", "test"]
    assert splits(source) == [names[value] for value in variables["folds"][:, fold - 1]]


def test_swapped_folds_have_2_for_test_and_3_for_valid(variables: Variables, tmp_path: Path) -> None:
    source = read_tfd(write(tmp_path, variables), fold=1, swapped=True)
    assert splits(source) == ["train", "test", "valid"] * 2 + ["train"] * 3


@pytest.mark.parametrize("fold", [0, 6, -1])
def test_there_are_five_folds(fold: int, variables: Variables, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--fold is 1 to 5"):
        read_tfd(write(tmp_path, variables), fold=fold)


def test_a_file_with_fewer_folds_says_which_there_are(variables: Variables, tmp_path: Path) -> None:
    variables["folds"] = variables["folds"][:, :2]
    assert splits(read_tfd(write(tmp_path, variables), fold=2))[:3] == ["train", "train", "valid"]
    with pytest.raises(InputError, match="no column 3: choose --fold 1 to 2"):
        read_tfd(write(tmp_path, variables), fold=3)


@pytest.mark.parametrize("form", FORMATS)
def test_rows_may_lie_across(form: str, variables: Variables, tmp_path: Path) -> None:
    upright = read_tfd(write(tmp_path, variables, form), fold=2)
    across = {name: variables[name].T for name in ("labs_ex", "labs_id", "folds")}
    assert read_tfd(write(tmp_path, variables | across, form), fold=2).samples == upright.samples


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", ["0..255", "0..1", "0..1 single", "int16"])
def test_pictures_of_other_numbers_become_the_same_bytes(
    kind: str, form: str, variables: Variables, tmp_path: Path
) -> None:
    expected = variables["images"][..., None]
    wide = variables["images"].astype(np.float64)
    variables["images"] = {
        "0..255": wide,
        "0..1": wide / 255,
        "0..1 single": (wide / 255).astype(np.float32),
        "int16": wide.astype(np.int16),
    }[kind]
    assert np.array_equal(pictures(read_tfd(write(tmp_path, variables, form), fold=1)), expected)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1, 1.5, 200])
def test_a_picture_of_other_numbers_than_the_rest_is_dropped_alone(
    bad: float, form: str, variables: Variables, tmp_path: Path
) -> None:
    expected = np.delete(variables["images"], 4, axis=0)[..., None]
    variables["images"] = variables["images"] / 255
    variables["images"][4, 10, 20] = bad
    source = read_tfd(write(tmp_path, variables, form), fold=1)
    assert found(source) == {tfd.BAD_PIXELS: ("dropped", [5])}
    assert np.array_equal(pictures(source), expected)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda wide: wide - 128, "from -128 to "),
        (lambda wide: wide * 257, " to 5"),
        (lambda wide: wide * np.nan, "from nan to nan"),
    ],
)
def test_pictures_of_no_known_range_are_refused(
    make: callable, told: str, variables: Variables, tmp_path: Path
) -> None:
    variables["images"] = make(variables["images"].astype(np.float64))
    with pytest.raises(InputError, match=told):
        read_tfd(write(tmp_path, variables), fold=1)


@pytest.mark.parametrize("form", ["7", "7.3"])
def test_a_bad_row_is_dropped_named_by_its_number_and_harms_no_other(
    form: str, variables: Variables, tmp_path: Path
) -> None:
    variables["labs_ex"][[1, 2, 3], 0] = [0, 8, 1.5]
    variables["labs_ex"][7, 0] = np.nan
    variables["folds"][[1, 5], 0] = 4
    source = read_tfd(write(tmp_path, variables, form), fold=1)
    assert found(source) == {
        tfd.UNKNOWN_LABEL: ("dropped", [2, 3, 4, 8]),
        tfd.UNKNOWN_FOLD: ("dropped", [6]),
    }
    assert [sample.details["row"] for sample in source.samples] == [1, 5, 7, 9]
    assert np.array_equal(pictures(source), variables["images"][[0, 4, 6, 8]][..., None])


def test_a_label_that_the_fold_leaves_out_stays_in_train_and_no_label_goes_where_the_fold_says(
    variables: Variables, tmp_path: Path
) -> None:
    variables["folds"][[1, 7], 0] = 0, 3
    source = read_tfd(write(tmp_path, variables), fold=1)
    assert (source.samples[1].split, source.samples[1].label) == ("train", 1)
    assert (source.samples[7].split, source.samples[7].label) == ("test", -1)
    assert found(source) == {
        tfd.LEFT_OUT: ("kept in train", [2]),
        tfd.UNLABELLED_IN_FOLD: ("kept there unlabelled", [8]),
    }


def test_an_identity_that_is_none_is_not_known(variables: Variables, tmp_path: Path) -> None:
    variables["labs_id"][:4, 0] = [np.nan, -2, 0.5, 1e300]
    source = read_tfd(write(tmp_path, variables), fold=1)
    assert [sample.identity for sample in source.samples] == [-1, -1, -1, -1, 44, 45, -1, -1, -1]
    assert found(source) == {tfd.BAD_IDENTITY: ("kept without an identity", [1, 2, 3, 4])}


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_of_pictures_and_labels_alone_is_all_train_and_says_so(
    form: str, variables: Variables, tmp_path: Path
) -> None:
    derived = {name: variables[name][:7] for name in ("images", "labs_ex")}
    source = read_tfd(write(tmp_path, derived, form), fold=3)
    assert splits(source) == ["train"] * 7
    assert {sample.identity for sample in source.samples} == {-1}
    assert found(source) == {
        tfd.NO_FOLDS: ("kept in train", [1, 2, 3, 4, 5, 6, 7]),
        tfd.NO_IDENTITIES: ("kept without an identity", [1, 2, 3, 4, 5, 6, 7]),
    }


@pytest.mark.parametrize("rows", [1, 3, 5])
@pytest.mark.parametrize("form", FORMATS)
def test_few_rows_are_read_as_many_are(form: str, rows: int, variables: Variables, tmp_path: Path) -> None:
    whole = read_tfd(write(tmp_path, variables, form), fold=4)
    expected = pictures(whole)[:rows]
    few = {name: value[:rows] for name, value in variables.items()}
    few["labs_ex"] = few["labs_ex"].astype(np.int16)  # MATLAB too keeps small numbers in few bytes
    source = read_tfd(write(tmp_path, few, form), fold=4)
    assert source.samples == whole.samples[:rows]
    assert np.array_equal(pictures(source), expected)


def test_a_file_without_a_usable_row_says_why(variables: Variables, tmp_path: Path) -> None:
    variables["labs_ex"][:] = 9
    with pytest.raises(InputError, match=r"no row of .* can be used: labs_ex other than .*: 9 rows"):
        read_tfd(write(tmp_path, variables), fold=1)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"images": None}, r"holds labs_ex \(double 9x1\), .* not images and labs_ex"),
        ({"labs_ex": None}, "not images and labs_ex"),
        ({"images": cell("a", "b")}, r"images \(cell 1x2\)"),
        ({"images": np.zeros((ROWS, SIDE * SIDE), np.uint8)}, "9x2304.*: images should be N x 48 x 48"),
        ({"images": np.zeros((SIDE, SIDE, ROWS), np.uint8)}, "48x48x9.*: images should be N x 48 x 48"),
        ({"images": np.zeros((ROWS, 2, 2), np.uint8)}, "images should be N x 48 x 48"),
        ({"images": np.zeros((0, SIDE, SIDE), np.uint8)}, "images should be N x 48 x 48"),
        ({"labs_ex": np.ones((ROWS - 1, 1))}, "labs_ex of .* is 8x1 where images is 9x48x48"),
        ({"labs_ex": np.ones((ROWS, 2))}, "labs_ex of .* is 9x2 where"),
        ({"labs_id": np.ones((ROWS, 2))}, "labs_id of .* is 9x2 where"),
        ({"folds": np.ones((3, 5))}, "folds of .* is 3x5 where"),
    ],
)
def test_a_file_of_other_variables_is_told_with_what_it_holds(
    change: dict, told: str, variables: Variables, tmp_path: Path
) -> None:
    changed = {name: value for name, value in (variables | change).items() if value is not None}
    with pytest.raises(InputError, match=told):
        read_tfd(write(tmp_path, changed), fold=1)


def test_the_companion_file_tfd_info_is_told_apart(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "TFD_info.mat", {"tfd_info": {"imfiles": cell("pofa1.jpg", "nim2.jpg")}})
    with pytest.raises(InputError, match=r"holds tfd_info \(struct 1x1\).*TFD_48x48.mat"):
        read_tfd(tmp_path / "TFD_info.mat", fold=1)
