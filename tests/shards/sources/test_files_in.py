"""A zip of a folder reads like the folder, and a damaged one costs a sentence or a picture, never more."""

import contextlib
import os
import pickle
import random
import zipfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from fes.errors import InputError
from shards.sources import files_in as files_in_module
from shards.sources.files_in import DAMAGED, MISSING, TOO_LARGE, FilesIn, files_in
from shards.sources.folder import read_folder
from tests.shards.scarcity import no_more_files

NAMES = ("train/sad/1.jpg", "train/happy/2.png", "test/sad/3.jpg")


@pytest.fixture
def zipped(tmp_path: Path) -> Path:
    """A zip of pictures that hold their own names many times, and of what macOS adds."""
    path = tmp_path / "archive.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("archive/train")
        for name in NAMES:
            archive.writestr(f"archive/{name}", name * 100)
        archive.writestr("__MACOSX/archive/train/sad/._1.jpg", "x")
    return path


def test_a_zip_has_the_names_and_the_contents_of_the_folder_in_it(zipped: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(zipped) as archive:
        archive.extractall(tmp_path / "out")
    folder, packed = files_in(tmp_path / "out"), files_in(zipped)
    assert packed.names == folder.names == tuple(sorted(f"archive/{name}" for name in NAMES))
    assert packed.read(packed.names) == folder.read(folder.names)
    assert packed.read(packed.names[::-1]) == folder.read(folder.names)[::-1]


def test_a_zip_of_classes_is_a_source(zipped: Path) -> None:
    source = read_folder(zipped)
    assert [(sample.split, sample.label) for sample in source.samples] == [
        ("test", 4),
        ("train", 3),
        ("train", 4),
    ]
    assert pickle.loads(pickle.dumps(source)).read([1]) == [b"train/happy/2.png" * 100]


def first(files: FilesIn) -> object:
    return files.read(files.names[:1])


def test_a_zip_that_is_open_here_is_read_in_other_processes_too(zipped: Path) -> None:
    files = files_in(zipped)
    here = first(files)
    with ProcessPoolExecutor(2) as pool:
        assert list(pool.map(first, [files] * 8)) == [here] * 8


def test_folders_in_a_zip_may_be_told_as_windows_does(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("x")
    info.filename = "sad\\1.jpg"  # the constructor would put it right on Windows
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "picture")
    files = files_in(tmp_path / "a.zip")
    assert (files.names, files.read(files.names)) == (("sad/1.jpg",), [b"picture"])


def test_a_damaged_picture_in_a_zip_costs_no_other(zipped: Path) -> None:
    data = bytearray(zipped.read_bytes())
    at = data.index(b"archive/train/happy/2.png") + len("archive/train/happy/2.png") + 2
    data[at : at + 8] = random.Random(0).randbytes(8)
    zipped.write_bytes(data)
    files = files_in(zipped)
    assert files.read([*files.names, "no such"]) == [
        NAMES[2].encode() * 100,
        DAMAGED,
        NAMES[0].encode() * 100,
        MISSING,
    ]


def test_a_zip_damaged_anywhere_costs_pictures_or_a_sentence(zipped: Path) -> None:
    whole, chance = zipped.read_bytes(), random.Random(0)
    for attempt in range(300):
        data = bytearray(whole)
        if attempt % 3 == 0:
            del data[chance.randrange(len(data)) :]
        else:
            for _ in range(attempt % 5 + 1):
                data[chance.randrange(len(data))] = chance.randrange(256)
        path = zipped.with_name(f"{attempt}.zip")
        path.write_bytes(data)
        with contextlib.suppress(InputError):
            files = files_in(path)
            assert len(files.read(files.names)) == len(files.names)


def test_where_no_file_can_be_opened_no_picture_is_given_up(zipped: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(zipped) as archive:
        archive.extractall(tmp_path / "out")
    for path in (tmp_path / "out", zipped):
        files = files_in(path)
        with (
            no_more_files(),
            pytest.raises(InputError, match=r"cannot read .*archive.* \(Too many open files\)"),
        ):
            files.read(files.names)
        assert [content[:6] for content in files.read(files.names)] == [b"test/s", b"train/", b"train/"]


MEMORY = Path("/proc/self/mem")  # a regular file, of which the first byte cannot be read


@pytest.mark.skipif(not MEMORY.exists(), reason="there is no file that fails to be read")
def test_a_disk_that_fails_is_told_and_a_file_that_is_gone_is_missing(tmp_path: Path) -> None:
    for name in ("1.jpg", "3.jpg"):
        (tmp_path / name).write_bytes(b"picture")
    (tmp_path / "2.jpg").symlink_to(MEMORY)
    files = files_in(tmp_path)
    with pytest.raises(
        InputError, match=r"cannot read .*2\.jpg \(Input/output error\): run the same command"
    ):
        files.read(files.names)
    (tmp_path / "3.jpg").unlink()
    assert files.read(["1.jpg", "3.jpg"]) == [b"picture", MISSING]


def test_a_zip_that_is_gone_is_told(zipped: Path) -> None:
    files = files_in(zipped)
    zipped.unlink()
    with pytest.raises(InputError, match=r"cannot read .*archive\.zip \(No such file or directory\)"):
        files.read(files.names)


def test_a_file_too_large_for_memory_is_not_read(
    zipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_in_module, "LARGEST", len(NAMES[0]) * 100)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/1.jpg").write_bytes(bytes(len(NAMES[0]) * 100 + 1))
    assert files_in(tmp_path / "folder").read(["1.jpg"]) == [TOO_LARGE]
    files = files_in(zipped)
    assert files.read(files.names) == [NAMES[2].encode() * 100, TOO_LARGE, NAMES[0].encode() * 100]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nothing", "nothing does not exist: check the path given as --source"),
        ("text.zip", r"text\.zip is neither a folder nor a zip that can be read"),
        ("pipe", "pipe is neither a folder nor a zip: give"),
    ],
)
def test_what_is_neither_a_folder_nor_a_zip_is_told_in_a_sentence(
    tmp_path: Path, name: str, sentence: str
) -> None:
    (tmp_path / "text.zip").write_text("no zip")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=sentence):
        files_in(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_told_and_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "sad").mkdir(mode=0)
    with pytest.raises(InputError, match=r"cannot read .*sad \(Permission denied\)"):
        files_in(tmp_path)
