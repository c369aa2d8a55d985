import gzip
import hashlib
import lzma
import os
import pickle
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from fes.errors import InputError
from fes.expressions import UNLABELLED
from shards.schema import Unreadable
from shards.sources import fer2013, pixels
from shards.sources.fer2013 import Fer2013Source, read_fer2013
from shards.sources.ferplus import FerPlusOptions, join_ferplus
from tests.shards.made_up import picture, row

REAL_FILE = Path(__file__).parents[4] / "shared/data/fer2013/fer2013.csv.xz"
CsvOf = Callable[..., Path]


def found(source: Fer2013Source) -> dict[str, list]:
    return {finding.reason: finding.origins for finding in source.findings}


def test_every_row_becomes_a_sample_with_its_picture_label_split_and_number(csv_of: CsvOf) -> None:
    rows = [row(1, 3), row(2, 6, "PublicTest"), row(3, 0, "PrivateTest")]
    source = read_fer2013(csv_of(rows))
    told = [(sample.split, sample.label, sample.origin, sample.details) for sample in source.samples]
    assert told == [("train", 3, 1, {"row": 1}), ("valid", 6, 2, {"row": 2}), ("test", 0, 3, {"row": 3})]
    for number, pixels_read in enumerate(source.read([0, 1, 2]), 1):
        assert pixels_read.dtype == np.uint8
        assert np.array_equal(pixels_read, picture(number).reshape(48, 48, 1))
    assert (source.findings, source.facts, source.unit) == ([], {"rows_read": 3}, "rows")


def test_pictures_are_read_in_the_order_asked_for_also_many(csv_of: CsvOf) -> None:
    source = read_fer2013(csv_of([row(number) for number in range(80)]))
    order = [*reversed(range(80)), 7, 7]
    read = np.stack(source.read(order)).reshape(-1, 2304)
    assert np.array_equal(read, [picture(number) for number in order])
    assert source.read([]) == []


def test_a_source_survives_pickling(csv_of: CsvOf) -> None:
    source = read_fer2013(csv_of([row(1), row(2)]))
    copy = pickle.loads(pickle.dumps(source))
    assert copy == source
    assert np.array_equal(copy.read([1])[0].ravel(), picture(2))


def test_columns_are_found_by_name_in_any_order_with_blanks_around(csv_of: CsvOf) -> None:
    label, text, usage = row(4, 2, "PrivateTest")
    source = read_fer2013(csv_of([[label, f" {usage}", f" {text}"]], header=("emotion", " Usage", " pixels")))
    assert (source.samples[0].split, source.samples[0].label) == ("test", 2)
    assert np.array_equal(source.read([0])[0].ravel(), picture(4))


def test_quoted_fields_windows_line_ends_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    label, text, usage = row(5, 1)
    path = tmp_path / "windows.csv"
    header = b'\xef\xbb\xbf"emotion","Usage","pixels"\r\n\r\n'
    path.write_bytes(header + f'"{label}","{usage}","{text}"\r\n'.encode())
    source = read_fer2013(path)
    assert source.samples[0].details == {"row": 1}
    assert np.array_equal(source.read([0])[0].ravel(), picture(5))


@pytest.mark.parametrize(
    ("name", "split"),
    [("train.csv", "train"), ("other.csv", "train"), ("test.csv", "test"), ("Test.csv.gz", "test")],
)
def test_a_csv_without_emotion_and_usage_is_unlabelled_and_of_the_split_in_its_name(
    csv_of: CsvOf, name: str, split: str
) -> None:
    path = csv_of([[row(1)[1]], [row(2)[1]]], header=("pixels",))
    data = path.read_bytes()
    path.with_name(name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    source = read_fer2013(path.with_name(name))
    assert [(sample.split, sample.label) for sample in source.samples] == [(split, UNLABELLED)] * 2
    assert found(source) == {fer2013.NO_LABELS: [1, 2], fer2013.NO_USAGES: [1, 2]}
    assert [finding.action for finding in source.findings] == ["kept unlabelled", f"kept in {split}"]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (row(9, 7), fer2013.UNKNOWN_LABEL),
        (row(9, "happy"), fer2013.UNKNOWN_LABEL),
        (row(9, ""), fer2013.UNKNOWN_LABEL),
        (row(9, 0, "training"), fer2013.UNKNOWN_USAGE),
        (["0"], fer2013.NO_ROW),
        (["0", "1 " * 600_000, "Training"], fer2013.NO_ROW),
        (["0", "1" * (fer2013.LONGEST + 1), "Training"], fer2013.TOO_LONG),
    ],
)
def test_a_row_without_sense_is_dropped_named_by_its_number_and_harms_no_other(
    csv_of: CsvOf, bad: list[str], reason: str
) -> None:
    source = read_fer2013(csv_of([row(1), bad, row(2)]))
    assert found(source) == {reason: [2]}
    assert source.findings[0].action == "dropped"
    assert [sample.details["row"] for sample in source.samples] == [1, 3]
    assert np.array_equal(source.read([1])[0].ravel(), picture(2))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1 2 3", pixels.WRONG_COUNT.format(2304)),
        (" ".join(["256"] * 2304), pixels.OUT_OF_RANGE),
        (" ".join(["x"] * 2304), pixels.NOT_NUMBERS),
    ],
)
def test_pixels_without_sense_are_unreadable_and_harm_no_other(csv_of: CsvOf, text: str, reason: str) -> None:
    source = read_fer2013(csv_of([row(1), ["0", text, "Training"], row(2)]))
    first, bad, last = source.read([0, 1, 2])
    assert bad == Unreadable(reason)
    assert np.array_equal([first.ravel(), last.ravel()], [picture(1), picture(2)])


def test_a_row_that_is_no_csv_is_dropped(csv_of: CsvOf) -> None:
    path = csv_of([row(1)])
    path.write_bytes(path.read_bytes() + b'0,a "lone\r quote,Training\n')
    assert found(read_fer2013(path)) == {fer2013.NO_ROW: [2]}


def test_a_folder_and_a_compressed_file_read_like_the_csv(csv_of: CsvOf) -> None:
    path = csv_of([row(1), row(2)])
    packed = path.with_name("packed")
    packed.write_bytes(lzma.compress(path.read_bytes()))
    for other in (path.parent, packed):
        source = read_fer2013(other)
        assert source.samples == read_fer2013(path).samples
        assert np.array_equal(source.read([1])[0].ravel(), picture(2))


def test_the_stamp_changes_with_the_file_alone(csv_of: CsvOf) -> None:
    path = csv_of([row(1), row(2)])
    first = read_fer2013(path).stamp
    assert read_fer2013(path).stamp == first
    os.utime(path, (1, 1))
    assert read_fer2013(path).stamp != first


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"emotion,Usage\n0,Training\n", "has no column 'pixels'"),
        (b"\x7fELF\x00\r\r", "is a binary file, no csv"),
        (b"emotion,pixels,Usage\n", "only a header"),
        (b"emotion,pixels,Usage\n9,1 2,Training\n", "can be used: emotion other than 0..6: 1 rows"),
    ],
)
def test_a_file_without_anything_usable_is_told_in_a_sentence(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    (tmp_path / "bad.csv").write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        read_fer2013(tmp_path / "bad.csv")


def test_a_missing_file_and_a_folder_without_a_csv_are_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.csv does not exist"):
        read_fer2013(tmp_path / "no.csv")
    with pytest.raises(InputError, match="should hold one csv"):
        read_fer2013(tmp_path)


def test_progress_ends_at_the_whole_file(csv_of: CsvOf) -> None:
    path, told = csv_of([row(1)]), []
    read_fer2013(path, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (path.stat().st_size, path.stat().st_size)


VOTES_HEADER = b"Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"


@pytest.fixture
def votes_of(tmp_path: Path) -> Callable[[Iterable[bytes]], Path]:
    """Writes rows of fer2013new.csv and returns its path."""

    def write(rows: Iterable[bytes]) -> Path:
        path = tmp_path / "votes.csv"
        path.write_bytes(VOTES_HEADER + b"\n".join(rows))
        return path

    return write


def test_votes_make_the_labels_and_dropped_rows_take_their_pictures_along(
    csv_of: CsvOf, votes_of: Callable
) -> None:
    votes = votes_of(
        [
            b"Training,a,0,9,0,0,0,0,0,0,1,0",
            b"Training,,0,0,0,0,0,0,0,0,0,10",
            b"Training,b,0,0,0,0,0,0,0,0,0,10",
            b"PublicTest,c,10,0,0,0,0,0,0,0,0,0",
        ]
    )
    path = csv_of([row(1, 0), row(2, 1), row(3, 9), row(4, 6, "PublicTest")])
    source = read_fer2013(path, ferplus=FerPlusOptions(votes=votes))
    told = [(sample.split, sample.label, sample.details) for sample in source.samples]
    assert told == [
        ("train", 3, {"row": 1, "votes": {"happy": 9, "unknown": 1}}),
        ("valid", 6, {"row": 4, "votes": {"neutral": 10}}),
    ]
    assert np.array_equal([each.ravel() for each in source.read([0, 1])], [picture(1), picture(4)])
    assert found(source) == {fer2013.UNKNOWN_LABEL: [3], "FER+ majority for not a face": [2]}
    assert source.facts == {"rows_read": 4, "labels_by_ferplus": 2, "labels_changed_by_ferplus": 1}
    assert source.stamp != read_fer2013(path).stamp
    assert source.stamp != read_fer2013(path, ferplus=FerPlusOptions(votes=votes, threshold=0.6)).stamp


def test_votes_without_a_usage_to_hold_against_are_refused(csv_of: CsvOf, votes_of: Callable) -> None:
    votes = votes_of([b"Training,a,0,9,0,0,0,0,0,0,1,0"])
    with pytest.raises(InputError, match="no column 'Usage'"):
        read_fer2013(csv_of([row(1)[:2]], ("emotion", "pixels")), ferplus=FerPlusOptions(votes=votes))


def test_rows_that_all_fall_to_their_votes_are_told_in_a_sentence(csv_of: CsvOf, votes_of: Callable) -> None:
    votes = votes_of([b"Training,,0,0,0,0,0,0,0,0,0,10"])
    with pytest.raises(InputError, match="can be used: FER\\+ majority for not a face: 1 rows"):
        read_fer2013(csv_of([row(1)]), ferplus=FerPlusOptions(votes=votes))


@pytest.fixture(scope="module")
def real_source() -> Fer2013Source:
    """The real file, where it is at hand."""
    if not REAL_FILE.exists():
        pytest.skip(f"the real FER2013 is not at {REAL_FILE}")
    return read_fer2013(REAL_FILE)


@pytest.mark.fer2013
def test_the_real_file_holds_what_is_known_of_it(real_source: Fer2013Source) -> None:
    assert (real_source.facts, real_source.findings) == ({"rows_read": 35887}, [])
    splits = Counter(sample.split for sample in real_source.samples)
    assert splits == {"train": 28709, "valid": 3589, "test": 3589}
    labels = Counter(sample.label for sample in real_source.samples)
    assert [labels[label] for label in range(7)] == [4953, 547, 5121, 8989, 6077, 4002, 6198]


@pytest.mark.fer2013
def test_the_real_pictures_are_all_read(real_source: Fer2013Source) -> None:
    digest, distinct = hashlib.sha256(), set()
    for first in range(0, 35887, 1024):
        for pixels_read in real_source.read(range(first, min(first + 1024, 35887))):
            data = pixels_read.tobytes()
            digest.update(data)
            distinct.add(hashlib.blake2b(data, digest_size=16).digest())
    assert len(distinct) == 34032
    assert digest.hexdigest() == "caa1256ca4b1cb3ebcbe34e1528046f10733f073bf782427672012ed102a50dd"


@pytest.mark.fer2013
def test_the_real_votes_fit_the_real_file(real_source: Fer2013Source) -> None:
    votes = REAL_FILE.with_name("fer2013new.csv")
    if not votes.exists():
        pytest.skip(f"the real FER+ is not at {votes}")
    joined = join_ferplus(real_source.samples, 35887, FerPlusOptions(votes=votes))
    assert joined.facts == {"labels_by_ferplus": 31196, "labels_changed_by_ferplus": 9951}
