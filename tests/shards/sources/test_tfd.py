"""Files as MATLAB writes them, in each of its formats, read as the Toronto Face Database."""

import os
import pickle
import random
import struct
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse

from fes.errors import InputError
from shards.sources import tfd
from shards.sources.matlab import FileArray
from shards.sources.tfd import TfdSource, read_tfd

ROWS, SIDE = 9, 48
CLASSES = {"uint8": b"uint8", "float64": b"double", "float32": b"single", "int16": b"int16"}
HEADER = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan 07 10:11:12 2013 HDF5 schema 1.00 ."
FORMATS = ("5", "7", "7.3", "7.3 packed")

Variables = dict[str, np.ndarray]


@pytest.fixture
def variables() -> Variables:
    """Seven faces, each of another class, and two without labels; every part of a picture is different."""
    images = np.random.default_rng(3).integers(0, 60, (ROWS, SIDE, SIDE), dtype=np.uint8)
    images[:, :, SIDE // 2 :] += 60
    images[:, SIDE // 3 :, :] += 100
    turns = [np.roll([1, 2, 3, 1, 2, 3, 1], by).tolist() for by in range(5)]
    return {
        "images": images,
        "labs_ex": np.array([[1, 2, 3, 4, 5, 6, 7, -1, -1]], np.float64).T,
        "labs_id": np.array([[900, 17, 17, 3, 44, 45, -1, -1, -1]], np.float64).T,
        "folds": np.array([[*turn, 0, 0] for turn in turns], np.uint8).T,
    }


def write(folder: Path, variables: Variables, form: str = "7") -> Path:
    """A .mat file as MATLAB's `save` writes it, with -v6 (format 5), -v7 or -v7.3."""
    path = folder / f"TFD_{form.replace(' ', '_')}.mat"
    if form.startswith("7.3"):
        write_hdf5(path, variables, packed=form != "7.3")
    else:
        scipy.io.savemat(path, variables, do_compression=form == "7")
    return path


def write_hdf5(path: Path, variables: Variables, packed: bool) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            # MATLAB packs long runs of its first axis, which is the last one here.
            layout = {"chunks": (*[1] * (value.ndim - 1), len(value)), "compression": 3} if packed else {}
            file.create_dataset(name, data=value.T, **layout)
            file[name].attrs["MATLAB_class"] = np.bytes_(CLASSES[value.dtype.name])
    with open(path, "r+b") as file:
        file.write(HEADER.ljust(116) + bytes(8) + b"\x00\x02IM")


def cell(*values: object) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def pictures(source: TfdSource) -> np.ndarray:
    return np.stack(source.read(range(len(source.samples))))


def found(source: TfdSource) -> dict[str, tuple[str, list]]:
    return {finding.reason: (finding.action, finding.origins) for finding in source.findings}


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


def test_other_variables_do_not_matter(variables: Variables, tmp_path: Path) -> None:
    others = {
        "people": cell("a", "b", np.eye(3)),
        "made": {"by": "x" * 5000, "when": 2010},
        "name": "Toronto Face Database",
        "part": scipy.sparse.eye_array(4).tocsc(),
        "angles": np.array([1 + 2j]),
        "z" * 31: np.zeros((0, 3)),
    }
    for form in ("5", "7"):
        expected = read_tfd(write(tmp_path, variables, form), fold=1).samples
        assert read_tfd(write(tmp_path, others | variables, form), fold=1).samples == expected


def test_a_file_from_a_machine_of_the_other_byte_order_is_read(variables: Variables, tmp_path: Path) -> None:
    def element(kind: int, content: bytes) -> bytes:
        return struct.pack(">II", kind, len(content)) + content + bytes(-len(content) % 8)

    def variable(name: str, value: np.ndarray, cls: int, kind: int) -> bytes:
        shape = np.array(value.shape, ">i4").tobytes()
        numbers = value.astype(value.dtype.newbyteorder(">")).tobytes("F")
        flags = element(6, struct.pack(">II", cls, 0))
        return element(14, flags + element(5, shape) + element(1, name.encode()) + element(kind, numbers))

    path = tmp_path / "sun.mat"
    doubles = [variable(name, variables[name], 6, 9) for name in ("labs_ex", "labs_id")]
    bytes_ = [variable(name, variables[name], 9, 2) for name in ("images", "folds")]
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI" + b"".join(doubles + bytes_))
    assert np.array_equal(scipy.io.loadmat(path)["labs_ex"], variables["labs_ex"])
    source, expected = read_tfd(path, fold=1), read_tfd(write(tmp_path, variables), fold=1)
    assert source.samples == expected.samples
    assert np.array_equal(pictures(source), pictures(expected))


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


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_that_is_cut_short_is_one_sentence(form: str, variables: Variables, tmp_path: Path) -> None:
    path = write(tmp_path, variables, form)
    whole = path.read_bytes()
    for size in (0, 4, 100, 127, 128, 200, 600, 3000, len(whole) // 2, len(whole) - 9):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=str(path)):
            read_tfd(path, fold=1)


@pytest.mark.parametrize("form", FORMATS)
def test_a_damaged_file_never_gives_another_error(form: str, variables: Variables, tmp_path: Path) -> None:
    path = write(tmp_path, variables, form)
    whole, draw = path.read_bytes(), random.Random(0)
    refused = []
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(draw.choice([1, 4, 64])):
            # The beginning, where sizes and kinds stand, more often than pixels.
            place = draw.randrange(draw.choice([200, 4000, len(damaged)]))
            damaged[place] = draw.randrange(256)
        path.write_bytes(damaged)
        try:
            source = read_tfd(path, fold=1)
            source.read(range(len(source.samples)))
        except InputError as error:
            refused.append(str(error))
    assert refused
    assert "".join(refused).isprintable()


@pytest.mark.parametrize(
    "content", [b"", b"emotion,pixels\n0,1 2 3\n", bytes(2000), b"\x1f\x8b" + bytes(999)]
)
def test_another_kind_of_file_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "TFD_48x48.mat"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"is no \.mat file"):
        read_tfd(path, fold=1)


def test_no_file_a_folder_and_a_pipe_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_tfd(tmp_path / "TFD_48x48.mat", fold=1)
    os.mkfifo(tmp_path / "pipe.mat")
    for path in (tmp_path, tmp_path / "pipe.mat"):
        with pytest.raises(InputError, match="is not a file"):
            read_tfd(path, fold=1)


def test_a_missing_library_is_named_with_what_installs_it(
    variables: Variables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, variables, "7.3")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError, match=r"pip install h5py"):
        read_tfd(path, fold=1)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("form", ["7", "7.3"])
def test_another_process_reads_the_same_pictures(
    form: str, method: str, variables: Variables, tmp_path: Path
) -> None:
    source = read_tfd(write(tmp_path, variables, form), fold=1)
    with ProcessPoolExecutor(1, get_context(method)) as pool:
        there = pool.submit(source.read, range(9)).result()
    assert np.array_equal(np.stack(there), pictures(source))


@pytest.mark.parametrize("form", FORMATS)
def test_a_source_travels_without_its_pictures(form: str, variables: Variables, tmp_path: Path) -> None:
    source = read_tfd(write(tmp_path, variables, form), fold=1)
    sent = pickle.dumps(source)
    assert len(sent) < variables["images"].nbytes / 4
    assert np.array_equal(pictures(pickle.loads(sent)), pictures(source))


@pytest.mark.parametrize("form", ["5", "7.3"])
def test_pictures_that_are_not_packed_stay_in_the_file(
    form: str, variables: Variables, tmp_path: Path
) -> None:
    path = write(tmp_path, variables, form)
    source = read_tfd(path, fold=1)
    assert isinstance(source.pictures, FileArray)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match="cut short"):
        source.read([3])


def test_a_file_that_goes_before_its_pictures_are_read_is_told(variables: Variables, tmp_path: Path) -> None:
    path = write(tmp_path, variables)
    source = pickle.loads(pickle.dumps(read_tfd(path, fold=1)))
    path.unlink()
    with pytest.raises(InputError, match="does not exist"):
        source.read([0])


def test_the_stamp_is_that_of_the_file(variables: Variables, tmp_path: Path) -> None:
    path = write(tmp_path, variables)
    stamp = read_tfd(path, fold=1).stamp
    assert read_tfd(path, fold=1).stamp == stamp
    variables["images"][0, 0, 0] += 1
    assert read_tfd(write(tmp_path, variables), fold=1).stamp != stamp


def test_unpacking_tells_how_far_it_is(variables: Variables, tmp_path: Path) -> None:
    told = []
    path = write(tmp_path, variables, "7.3 packed")
    read_tfd(path, fold=1, progress=lambda done, total: told.append((done, total)))
    assert told == [(part, SIDE) for part in range(1, SIDE + 1)]
