"""Files as MATLAB writes them: what else they may hold, how damage and loss are told, who can read them."""

import os
import pickle
import random
import struct
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.sparse

from fes.errors import InputError
from shards.sources.matlab import FileArray
from shards.sources.tfd import read_tfd
from tests.shards.sources.mat_files import FORMATS, SIDE, Variables, cell, pictures, write


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
