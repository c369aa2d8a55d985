"""FER2013 as a folder of JPEG files has the labels and the splits of the csv."""

import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from fes.errors import InputError
from shards.sources import fer2013_folder
from shards.sources.fer2013_folder import is_fer2013_folder, read_fer2013_folder
from shards.sources.folder import FolderSource

# In the order of the csv's numbers, which is not that of the alphabet.
FOLDERS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
KAGGLE = [
    *(f"train/{name}/Training_{number}118481.jpg" for number, name in enumerate(FOLDERS, 10)),
    *(f"test/{name}/PublicTest_{number}000000.jpg" for number, name in enumerate(FOLDERS, 10)),
    *(f"test/{name}/PrivateTest_{number}.jpg" for number, name in enumerate(FOLDERS, 10)),
]


def fill(root: Path, names: Iterable[str]) -> Path:
    """Files that hold their own names."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def found(source: FolderSource) -> dict[str, list]:
    return {finding.reason: finding.origins for finding in source.findings}


def test_labels_follow_the_names_of_the_folders_and_splits_those_of_the_files(tmp_path: Path) -> None:
    source = read_fer2013_folder(fill(tmp_path, KAGGLE))
    assert source.name == "fer2013"
    assert len(source.samples) == 21
    splits = {"Training": "train", "PublicTest": "valid", "PrivateTest": "test"}
    for sample, name in zip(source.samples, source.names, strict=True):
        _, folder, file = name.split("/")
        assert sample.label == FOLDERS.index(folder)
        assert sample.split == splits[file.partition("_")[0]]
        assert sample.details == {"file": name}
    assert source.read([0, 20]) == [source.names[0].encode(), source.names[20].encode()]


def test_the_report_says_once_for_every_folder_that_these_are_lossy_copies(tmp_path: Path) -> None:
    source = read_fer2013_folder(fill(tmp_path, KAGGLE))
    folders = sorted(f"{split}/{name}" for split in ("train", "test") for name in FOLDERS)
    assert found(source) == {fer2013_folder.COPIES: folders}
    assert (source.findings[0].action, source.findings[0].unit) == ("kept", "folders")


def test_lossless_copies_are_no_trouble(tmp_path: Path) -> None:
    source = read_fer2013_folder(fill(tmp_path, ["train/angry/im0.png", "test/sad/im0.png"]))
    assert [(sample.split, sample.label) for sample in source.samples] == [("test", 4), ("train", 0)]
    assert source.findings == []


def test_where_the_files_names_tell_no_split_the_folders_do(tmp_path: Path) -> None:
    source = read_fer2013_folder(
        fill(
            tmp_path,
            ["train/angry/0.jpg", "validation/angry/1.jpg", "test/angry/2.jpg", "test/sad/Trainings.jpg"],
        )
    )
    assert [sample.split for sample in source.samples] == ["test", "test", "train", "valid"]


def test_files_without_folders_of_splits_go_where_their_names_tell(tmp_path: Path) -> None:
    source = read_fer2013_folder(
        fill(tmp_path, ["angry/PrivateTest_1.jpg", "angry/PublicTest_1.jpg", "sad/7.jpg"])
    )
    assert [sample.split for sample in source.samples] == ["test", "valid", "train"]
    assert fer2013_folder.OTHER_SPLIT not in found(source)


def test_a_file_in_the_folder_of_another_split_is_told(tmp_path: Path) -> None:
    names = [
        "train/sad/PrivateTest_1.jpg",
        "validation/sad/PublicTest_2.jpg",
        "validation/sad/Training_3.jpg",
    ]
    source = read_fer2013_folder(fill(tmp_path, names))
    assert [sample.split for sample in source.samples] == ["test", "valid", "train"]
    assert found(source)[fer2013_folder.OTHER_SPLIT] == [names[0], names[2]]


def test_a_folder_of_fer2013_is_recognised_by_its_names(tmp_path: Path) -> None:
    assert is_fer2013_folder(fill(tmp_path / "a", KAGGLE[-1:]))
    assert is_fer2013_folder(fill(tmp_path / "b", ["archive/train/Happy/Training_1.png"]))
    assert not is_fer2013_folder(fill(tmp_path / "c", ["train/happy/001.jpg"]))
    assert not is_fer2013_folder(fill(tmp_path / "d", ["train/joy/Training_1.jpg"]))
    assert not is_fer2013_folder(tmp_path / "nothing")
    (tmp_path / "fer2013.csv").write_text("emotion,pixels,Usage\n")
    assert not is_fer2013_folder(tmp_path / "fer2013.csv")


def test_the_zip_as_it_is_downloaded_reads_like_the_folder(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        for name in KAGGLE:
            archive.writestr(name, name)
    assert is_fer2013_folder(tmp_path / "archive.zip")
    folder = read_fer2013_folder(fill(tmp_path / "folder", KAGGLE))
    packed = read_fer2013_folder(tmp_path / "archive.zip")
    assert packed.samples == folder.samples
    assert packed.read(range(21)) == folder.read(range(21))


def test_a_zip_of_a_csv_is_no_folder(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "fer2013.csv.zip", "w") as archive:
        archive.writestr("fer2013.csv", "emotion,pixels,Usage\n")
    assert not is_fer2013_folder(tmp_path / "fer2013.csv.zip")
    with pytest.raises(InputError, match="has no picture in a folder of a class"):
        read_fer2013_folder(tmp_path / "fer2013.csv.zip")


def test_progress_is_told(tmp_path: Path) -> None:
    calls = []
    read_fer2013_folder(fill(tmp_path, KAGGLE), lambda done, total: calls.append((done, total)))
    assert calls == [(21, 21)]
