import gzip
import lzma
import random
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fes.errors import InputError
from fes.expressions import UNLABELLED
from shards import compressed, duplicates, fer2013, pixels
from shards.fer2013 import Fer2013Source, read_fer2013
from shards.pictures import decode_picture
from tests.shards.made_up import picture, row

REAL_FILE = Path(__file__).parents[3] / "shared/data/fer2013/fer2013.csv.xz"
CsvOf = Callable[..., Path]


def found(source: Fer2013Source) -> dict[str, list]:
    return {finding.reason: finding.rows for finding in source.findings}


def test_every_row_becomes_a_sample_with_its_picture_label_split_and_number(csv_of: CsvOf) -> None:
    rows = [row(1, 3), row(2, 6, "PublicTest"), row(3, 0, "PrivateTest")]
    source = read_fer2013(csv_of(rows))
    told = [(sample.split, sample.label, sample.details) for sample in source.samples]
    assert told == [("train", 3, {"row": 1}), ("valid", 6, {"row": 2}), ("test", 0, {"row": 3})]
    for number, data in enumerate(source.encode([0, 1, 2]), 1):
        assert np.array_equal(decode_picture(data, 48, 1).ravel(), picture(number))
    assert source.findings == []


def test_columns_are_found_by_name_in_any_order_with_blanks_around(csv_of: CsvOf) -> None:
    label, text, usage = row(4, 2, "PrivateTest")
    source = read_fer2013(csv_of([[label, usage, text]], header=("emotion", " Usage", " pixels")))
    assert (source.samples[0].split, source.samples[0].label) == ("test", 2)


def test_quoted_fields_windows_line_ends_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    label, text, usage = row(5, 1)
    path = tmp_path / "windows.csv"
    header = b'\xef\xbb\xbf"emotion","pixels","Usage"\r\n\r\n'
    path.write_bytes(header + f'"{label}","{text}","{usage}"\r\n'.encode())
    assert read_fer2013(path).samples[0].details == {"row": 1}


def test_a_csv_without_emotion_and_usage_becomes_unlabelled_training_data_and_says_so(csv_of: CsvOf) -> None:
    source = read_fer2013(csv_of([[row(1)[1]], [row(2)[1]]], header=("pixels",)))
    assert [(sample.split, sample.label) for sample in source.samples] == [("train", UNLABELLED)] * 2
    assert found(source) == {fer2013.NO_LABELS: [1, 2], fer2013.NO_USAGES: [1, 2]}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (["0", "1 2 3", "Training"], pixels.WRONG_COUNT.format(2304)),
        (["0", " ".join(["256"] * 2304), "Training"], pixels.OUT_OF_RANGE),
        (["0", " ".join(["x"] * 2304), "Training"], pixels.NOT_NUMBERS),
        (["0", " ".join(["7"] * 2304), "Training"], fer2013.CONSTANT),
        (row(9, 7), fer2013.UNKNOWN_LABEL),
        (row(9, "happy"), fer2013.UNKNOWN_LABEL),
        (row(9, ""), fer2013.UNKNOWN_LABEL),
        (row(9, 0, "training"), fer2013.UNKNOWN_USAGE),
        (["0"], fer2013.TOO_FEW_COLUMNS),
    ],
)
def test_a_bad_row_is_dropped_named_by_its_number_and_harms_no_other(
    csv_of: CsvOf, bad: list[str], reason: str
) -> None:
    source = read_fer2013(csv_of([row(1), bad, row(2)]))
    assert found(source) == {reason: [2]}
    assert source.findings[0].action == "dropped"
    assert [sample.details["row"] for sample in source.samples] == [1, 3]


def test_a_row_that_is_no_csv_is_dropped(csv_of: CsvOf) -> None:
    path = csv_of([row(1)])
    path.write_bytes(path.read_bytes() + b'0,a "lone\r quote,Training\n')
    assert found(read_fer2013(path)) == {fer2013.TOO_FEW_COLUMNS: [2]}


COPIES = [
    row(1, 0, "Training"),
    row(1, 0, "PublicTest"),
    row(2, 3, "Training"),
    row(2, 4, "Training"),
    row(3, 5, "PrivateTest"),
    row(3, 5, "PublicTest"),
    row(4, 6, "Training"),
]


def test_copies_are_kept_and_reported_as_groups_conflicts_and_leaks(csv_of: CsvOf) -> None:
    source = read_fer2013(csv_of(COPIES))
    assert len(source.samples) == 7
    assert source.facts["distinct_pictures"] == 4
    assert found(source) == {
        duplicates.COPIES: [[1, 2], [3, 4], [5, 6]],
        duplicates.CONFLICTS: [[3, 4]],
        duplicates.LEAK.format("valid", "train"): [2],
        duplicates.LEAK.format("test", "valid"): [5],
    }


def test_dropping_copies_takes_them_from_training_first(csv_of: CsvOf) -> None:
    source = read_fer2013(csv_of(COPIES), duplicates="drop")
    assert [sample.details["row"] for sample in source.samples] == [2, 3, 5, 7]


def compress(path: Path, kind: str) -> Path:
    packed = path.with_name(f"{path.name}.{kind}")
    if kind == "zip":
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(path, "folder/fer2013.csv")
            archive.writestr("README.txt", "not the csv")
    else:
        packed.write_bytes({"gz": gzip, "xz": lzma}[kind].compress(path.read_bytes()))
    return packed


@pytest.mark.parametrize("kind", ["gz", "xz", "zip"])
def test_a_compressed_csv_reads_like_the_plain_one(
    csv_of: CsvOf, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Blocks smaller than the file, so that lines are also put together again across their borders.
    monkeypatch.setattr(compressed, "BLOCK_BYTES", 2**16)
    plain = csv_of([row(number, number % 7) for number in range(60)])
    source = read_fer2013(compress(plain, kind))
    assert np.array_equal(source.pictures, np.stack([picture(n).reshape(48, 48, 1) for n in range(60)]))


@pytest.mark.parametrize("kind", ["gz", "xz", "zip"])
@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_damaged_compressed_file_is_told_in_a_sentence(csv_of: CsvOf, kind: str, damage: str) -> None:
    path = compress(csv_of([row(number) for number in range(20)]), kind)
    data = bytearray(path.read_bytes())
    if damage == "cut":
        del data[len(data) // 2 :]
    else:
        data[len(data) // 2 : len(data) // 2 + 64] = random.Random(0).randbytes(64)
    path.write_bytes(data)
    with pytest.raises(InputError, match=f"cannot read .*fer2013.csv.{kind} .*fetch it again"):
        read_fer2013(path)


def test_concatenated_gzip_members_are_read_as_one_file(csv_of: CsvOf) -> None:
    path = csv_of([row(1), row(2)])
    data = path.read_bytes()
    path.write_bytes(gzip.compress(data[:5000]) + gzip.compress(data[5000:]) + bytes(512))
    assert len(read_fer2013(path).samples) == 2


def test_a_zip_of_several_tables_asks_for_one_of_them(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "both.zip", "w") as archive:
        archive.writestr("train.csv", "")
        archive.writestr("test.csv", "")
    with pytest.raises(InputError, match=r"one csv and holds train\.csv, test\.csv"):
        read_fer2013(tmp_path / "both.zip")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"emotion,Usage\n0,Training\n", "has no column 'pixels'"),
        (b"\x7fELF\x00\r\r", "has no column 'pixels'"),
        (b"emotion,pixels,Usage\n", "only a header"),
        (b"emotion,pixels,Usage\n0,1 2,Training\n", "can be used: pixel count other than 2304: 1 rows"),
    ],
)
def test_a_file_without_anything_usable_is_told_in_a_sentence(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    (tmp_path / "bad.csv").write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        read_fer2013(tmp_path / "bad.csv")


def test_a_missing_file_and_a_folder_are_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.csv does not exist"):
        read_fer2013(tmp_path / "no.csv")
    with pytest.raises(InputError, match="Is a directory"):
        read_fer2013(tmp_path)


def test_progress_ends_at_the_whole_file(csv_of: CsvOf) -> None:
    path, told = csv_of([row(1)]), []
    read_fer2013(path, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (path.stat().st_size, path.stat().st_size)


@pytest.mark.fer2013
@pytest.mark.skipif(not REAL_FILE.exists(), reason=f"the real FER2013 is not at {REAL_FILE}")
def test_the_real_file_holds_what_is_known_of_it() -> None:
    source = read_fer2013(REAL_FILE)
    counts = {reason: len(rows) for reason, rows in found(source).items()}
    assert source.facts == {"rows_read": 35887, "rows_readable": 35887, "distinct_pictures": 34032}
    assert counts == {
        fer2013.CONSTANT: 12,
        duplicates.COPIES: 1518,
        duplicates.CONFLICTS: 59,
        duplicates.LEAK.format("valid", "train"): 280,
        duplicates.LEAK.format("test", "train"): 288,
        duplicates.LEAK.format("test", "valid"): 44,
    }
    kept = Counter(sample.split for sample in source.samples)
    assert kept == {"train": 28698, "valid": 3588, "test": 3589}
