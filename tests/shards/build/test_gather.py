from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fes.errors import InputError
from shards.build import gather as gather_module
from shards.build.fingerprint import fingerprints
from shards.build.gather import BLOCK, Gathered, gather, stamp_of, start_over_where_other
from shards.pictures import decode_picture, encode_picture
from shards.schema import no_progress
from tests.shards.made_up import GONE, MadeUpSource, picture

COLOUR = np.dstack([picture(1).reshape(48, 48)] * 2 + [picture(2).reshape(48, 48)])[:40]


def gathered(source: MadeUpSource, folder: Path, workers: int = 1) -> Gathered:
    start_over_where_other(folder, stamp_of(source))
    return gather(source, folder, workers=workers, progress=no_progress)


def test_every_picture_is_kept_with_what_it_is(tmp_path: Path) -> None:
    kept = encode_picture(COLOUR)
    found = gathered(MadeUpSource(["train"] * 4, others={1: kept, 2: COLOUR}), tmp_path)
    assert found.unreadable == {}
    for name, values in {"width": [48] * 4, "height": [48, 40, 40, 48], "channels": [1, 3, 3, 1]}.items():
        assert found.records[name].tolist() == values
    assert found.picture(1) == found.picture(2) == kept
    assert np.array_equal(decode_picture(found.picture(3), 48, 1)[0], picture(3).reshape(48, 48))


def test_what_cannot_be_read_costs_no_other_picture(tmp_path: Path) -> None:
    others = {0: GONE, 2: b"no picture", 3: encode_picture(COLOUR)[:-40]}
    found = gathered(MadeUpSource(["train"] * 5, others), tmp_path)
    assert found.unreadable == {
        0: "the disk ate it",
        2: "no readable picture (of no known kind)",
        3: "no readable picture (cut short or damaged)",
    }
    for good in (1, 4):
        assert np.array_equal(decode_picture(found.picture(good), 48, 1)[0], picture(good).reshape(48, 48))


def test_records_are_the_same_for_any_number_of_workers(tmp_path: Path) -> None:
    source = MadeUpSource(["train"] * (2 * BLOCK + 5), {BLOCK: GONE})
    found = [gathered(source, tmp_path / str(workers), workers) for workers in (1, 2)]
    assert found[0].records.tobytes() == found[1].records.tobytes()
    for at in (0, BLOCK - 1, BLOCK + 1, 2 * BLOCK + 4):
        assert found[0].picture(at) == found[1].picture(at)


def read_positions(log: Path) -> list[int]:
    return [int(line) for line in log.read_text().splitlines()] if log.exists() else []


def test_what_was_read_before_an_interruption_is_not_read_again(tmp_path: Path) -> None:
    splits, log = ["train"] * (3 * BLOCK), tmp_path / "log"
    with pytest.raises(KeyboardInterrupt):
        gathered(MadeUpSource(splits, stops=(2 * BLOCK + 7,), log=log), tmp_path / "work")
    assert read_positions(log) == list(range(2 * BLOCK))
    log.unlink()
    found = gathered(MadeUpSource(splits, log=log), tmp_path / "work")
    assert read_positions(log) == list(range(2 * BLOCK, 3 * BLOCK))
    whole = gathered(MadeUpSource(splits), tmp_path / "at once")
    assert found.records.tobytes() == whole.records.tobytes()


@pytest.mark.parametrize("other", [{"stamp": "changed"}, {"name": "another"}, {"splits": ["train"] * 8}])
def test_another_source_begins_anew(tmp_path: Path, other: dict[str, object]) -> None:
    gathered(MadeUpSource(["train"] * 9), tmp_path / "work")
    log = tmp_path / "log"
    source = MadeUpSource(**{"splits": ["train"] * 9, "log": log, **other})
    gathered(source, tmp_path / "work")
    assert read_positions(log) == list(range(len(source.splits)))


def test_transparent_turned_and_deep_pictures_are_gathered_as_they_look(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((50, 60), 40_000, np.uint16)).save(path)
    found = gathered(MadeUpSource(["train"], {0: path.read_bytes()}), tmp_path / "work")
    assert (decode_picture(found.picture(0), 50, 1) == 40_000 >> 8).all()


def test_progress_counts_samples(tmp_path: Path) -> None:
    told = []
    source = MadeUpSource(["train"] * (BLOCK + 1))
    start_over_where_other(tmp_path, stamp_of(source))
    gather(source, tmp_path, workers=1, progress=lambda *counts: told.append(counts))
    assert told == [(BLOCK, BLOCK + 1), (BLOCK + 1, BLOCK + 1)]


@pytest.mark.parametrize(
    ("name", "left"),
    [("block-000000.npy", b"half of i"), ("block-000000.pictures", b""), ("block-000000.pictures", None)],
)
def test_a_block_that_a_loss_of_power_has_damaged_is_read_again(
    tmp_path: Path, name: str, left: bytes | None
) -> None:
    source = MadeUpSource(["train"] * 3)
    whole = gathered(source, tmp_path).records.tobytes()
    (tmp_path / name).unlink()
    if left is not None:
        (tmp_path / name).write_bytes(left)
    found = gathered(source, tmp_path)
    assert found.records.tobytes() == whole
    assert np.array_equal(decode_picture(found.picture(2), 48, 1)[0], picture(2).reshape(48, 48))


def spoiled(path: Path, first: int, last: int) -> None:
    """Takes some bytes of a file, and leaves its length."""
    data = bytearray(path.read_bytes())
    data[first:last] = bytes(len(data[first:last]))
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["block-000001.npy", "block-000001.pictures"])
@pytest.mark.parametrize("lost", [(0, 2**30), (4096, 8192), (-600, -100)])
def test_a_block_whose_files_kept_their_lengths_and_lost_what_was_in_them_is_read_again(
    tmp_path: Path, name: str, lost: tuple[int, int]
) -> None:
    splits, log = ["train"] * (BLOCK + 9), tmp_path / "log"
    whole = gathered(MadeUpSource(splits, {BLOCK + 1: GONE}), tmp_path / "work").records.tobytes()
    spoiled(tmp_path / "work" / name, *lost)
    found = gathered(MadeUpSource(splits, {BLOCK + 1: GONE}, log=log), tmp_path / "work", workers=2)
    assert read_positions(log) == [*range(BLOCK, BLOCK + 9)]
    assert found.records.tobytes() == whole
    for at in (0, BLOCK, BLOCK + 8):
        assert np.array_equal(decode_picture(found.picture(at), 48, 1)[0], picture(at).reshape(48, 48))


def test_a_picture_that_is_no_longer_what_was_read_is_told(tmp_path: Path) -> None:
    found = gathered(MadeUpSource(["train"] * 3), tmp_path)
    path = tmp_path / "block-000000.pictures"
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(InputError, match="was damaged while the build went on: give the same command again"):
        found.picture(2)
    again = gathered(MadeUpSource(["train"] * 3), tmp_path)
    assert again.picture(2) == encode_picture(picture(2).reshape(48, 48, 1))


def test_pixels_are_let_go_of_before_there_are_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    together = []

    def count(pictures: list[np.ndarray]) -> np.ndarray:
        together.append(len(pictures))
        return fingerprints(pictures)

    whole = gathered(MadeUpSource(["train"] * 10), tmp_path / "together").records.tobytes()
    monkeypatch.setattr(gather_module, "fingerprints", count)
    monkeypatch.setattr(gather_module, "MOST_WAITING", 3 * 48 * 48)
    assert gathered(MadeUpSource(["train"] * 10), tmp_path / "apart").records.tobytes() == whole
    assert together == [4, 4, 2]


def test_a_source_whose_name_is_no_text_is_gathered(tmp_path: Path) -> None:
    assert len(gathered(MadeUpSource(["train"], stamp="na\udcffme"), tmp_path).records) == 1
