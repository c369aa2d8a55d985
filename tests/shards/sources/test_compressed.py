import bz2
import contextlib
import gzip
import io
import lzma
import os
import random
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from fes.errors import InputError
from shards.sources import compressed
from shards.sources.compressed import find_csv, open_csv

CSV = b"name,number\n" + b"".join(b"%d,%d\n" % (number, number**5) for number in range(5000))
ROWS = [line.split(b",") for line in CSV.splitlines()]
PREFERRED = ("best", "good")


def zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return packed.getvalue()


def tarred(files: Mapping[str, bytes], form: int = tarfile.USTAR_FORMAT) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()


FILES = {
    "set/": b"",
    "set/README": b"x" * 700,
    "__MACOSX/set/._other.csv": b"not,this\n",
    "set/.hidden.csv": b"nor,this\n",
    "set/other.csv": CSV,
    "set/other.bib": b"y" * 30,
}
LONG_NAME = {"long/" * 30 + "name.txt": b"z" * 600}
PACKED = {
    "csv": CSV,
    "gz": gzip.compress(CSV),
    "xz": lzma.compress(CSV),
    "bz2": bz2.compress(CSV),
    "zip": zipped(FILES),
    "zip-stored": zipped(FILES, zipfile.ZIP_STORED),
    "tar": tarred(FILES),
    "tar-gnu": tarred(LONG_NAME | FILES, tarfile.GNU_FORMAT),
    "tar-pax": tarred(LONG_NAME | FILES, tarfile.PAX_FORMAT),
    "tar.gz": gzip.compress(tarred(FILES)),
    "tar.xz": lzma.compress(tarred(FILES)),
    "tar.bz2": bz2.compress(tarred(FILES)),
}
ARCHIVES = {"zip": zipped, "tar": tarred, "tar.gz": lambda files: gzip.compress(tarred(files))}


def rows_of(path: Path) -> list[list[bytes]]:
    with open_csv(path, PREFERRED) as file:
        return list(file.rows)


@pytest.fixture
def file_of(tmp_path: Path) -> Callable[[bytes], Path]:
    """Writes bytes to a file, whose name tells nothing, and returns its path."""

    def write(data: bytes) -> Path:
        path = tmp_path / "file"
        path.write_bytes(data)
        return path

    return write


@pytest.mark.parametrize("form", PACKED)
def test_every_form_is_known_by_its_content_and_gives_the_same_rows(
    file_of: Callable, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Blocks smaller than the file, so that lines are also put together again across their borders.
    monkeypatch.setattr(compressed, "BLOCK_BYTES", 1000)
    assert rows_of(file_of(PACKED[form])) == ROWS


def test_the_csv_is_known_by_its_own_name_in_an_archive_and_else_by_the_file_s(file_of: Callable) -> None:
    names = []
    for form in ("csv", "gz", "zip", "tar.gz"):
        with open_csv(file_of(PACKED[form]), PREFERRED) as file:
            names.append(file.name)
    assert names == ["file", "file", "other.csv", "other.csv"]


@pytest.mark.parametrize("pack", ARCHIVES.values(), ids=ARCHIVES)
@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (["a.csv", "good.csv", "best.csv", "b.csv"], "best.csv"),
        (["a.csv", "Good.CSV", "b.csv", "best.txt"], "Good.CSV"),
        (["a.csv", "second/best.csv", "best.csv"], "second/best.csv"),
        (["best.tar.gz", "a.csv"], "a.csv"),
    ],
)
def test_of_several_the_preferred_is_taken(
    file_of: Callable, pack: Callable, names: list[str], taken: str
) -> None:
    path = file_of(pack({name: name.encode() for name in names}))
    assert rows_of(path) == [[taken.encode()]]


@pytest.mark.parametrize("pack", ARCHIVES.values(), ids=ARCHIVES)
@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["b.csv", "a.csv", "README"], "'a.csv, b.csv'"),
        (["best.tar.gz", "README"], "'README, best.tar.gz'"),
        ([f"{number}.jpg" for number in range(9)], "'0.jpg, 1.jpg, 2.jpg, 3.jpg, 4.jpg and 4 more'"),
        (["red\x1b[31m"], r"'red\x1b[31m'"),
    ],
)
def test_an_archive_in_which_it_is_not_clear_what_to_take_is_told_with_what_is_there(
    file_of: Callable, pack: Callable, names: list[str], told: str
) -> None:
    with pytest.raises(InputError) as caught:
        rows_of(file_of(pack(dict.fromkeys(names, b"x"))))
    assert f"should hold one csv, best.csv or good.csv, but holds {told}" in str(caught.value)


def test_an_empty_archive_holds_nothing(file_of: Callable) -> None:
    with pytest.raises(InputError, match="holds 'nothing'"):
        rows_of(file_of(zipped({})))


@pytest.mark.parametrize("form", [form for form in PACKED if form != "csv"])
def test_a_file_that_is_cut_short_is_told_in_a_sentence(file_of: Callable, form: str) -> None:
    data = PACKED[form]
    for size in (len(data) // 3, len(data) * 2 // 3):
        with pytest.raises(InputError, match=r"cannot read .* cut short or damaged, fetch it again"):
            rows_of(file_of(data[:size]))


@pytest.mark.parametrize(
    "form", [form for form in PACKED if form not in ("csv", "tar", "tar-gnu", "tar-pax")]
)
def test_changed_bytes_are_told_in_a_sentence(file_of: Callable, form: str) -> None:
    data = bytearray(PACKED[form])
    data[len(data) // 2 : len(data) // 2 + 64] = random.Random(0).randbytes(64)
    with pytest.raises(InputError, match=r"cannot read .* cut short or damaged, fetch it again"):
        rows_of(file_of(data))


@pytest.mark.parametrize("form", PACKED)
def test_no_damage_gives_anything_but_rows_or_a_sentence(file_of: Callable, form: str) -> None:
    rng = random.Random(form)
    for _ in range(30):
        data = bytearray(PACKED[form])
        for _ in range(rng.choice([1, 3, 30])):
            # The headers of archives stand at both ends.
            data[rng.choice([rng.randrange(len(data)), rng.randrange(600), -rng.randrange(1, 300)])] = (
                rng.randrange(256)
            )
        with contextlib.suppress(InputError):
            rows_of(file_of(data))


def test_damage_behind_the_csv_in_a_compressed_tar_is_found(file_of: Callable) -> None:
    data = bytearray(
        gzip.compress(tarred({"best.csv": CSV, "pictures.bin": random.Random(0).randbytes(9000)}))
    )
    data[-1000] ^= 1
    with pytest.raises(InputError, match="CRC"):
        rows_of(file_of(data))


@pytest.mark.parametrize("size", [b"-0000000512\0", b"\xff" * 12, b"77777777777\0"])
def test_a_tar_with_an_impossible_size_does_not_run_in_circles(file_of: Callable, size: bytes) -> None:
    data = bytearray(tarred({"README": b"x", "a.csv": CSV}))
    data[124:136] = size
    data[148:156] = b"%06o\0 " % (sum(data[:148]) + 8 * 32 + sum(data[156:512]))
    with pytest.raises(InputError, match="header of the tar is broken or missing"):
        rows_of(file_of(data))


def test_a_locked_zip_asks_for_the_csv(file_of: Callable) -> None:
    data = bytearray(zipped({"a.csv": CSV}))
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(header) + flags] |= 1
    with pytest.raises(InputError, match=r"encrypted.*unpack it and give the csv"):
        rows_of(file_of(data))


def test_concatenated_gzip_members_are_read_as_one_file(file_of: Callable) -> None:
    data = gzip.compress(CSV[:5000]) + gzip.compress(CSV[5000:]) + bytes(512)
    assert rows_of(file_of(data)) == ROWS


def test_quotes_windows_line_ends_blank_lines_and_a_byte_order_mark_are_read(file_of: Callable) -> None:
    path = file_of(b'\xef\xbb\xbf"a","b,""c"""\r\n\r\n  \n1,2\r\n3,4')
    assert rows_of(path) == [[b"a", b'b,"c"'], [b"1", b"2\r"], [b"3", b"4"]]


@pytest.mark.parametrize("character", [b"x", b'"', b",", b"\0"])
def test_an_overlong_line_is_a_row_without_fields(
    file_of: Callable, monkeypatch: pytest.MonkeyPatch, character: bytes
) -> None:
    monkeypatch.setattr(compressed, "LONGEST_LINE", 1000)
    monkeypatch.setattr(compressed, "BLOCK_BYTES", 600)
    for length in (1001, 1200, 50_000):
        path = file_of(b"a,b\n" + character * length + b"\n1,2\n")
        assert rows_of(path) == [[b"a", b"b"], [], [b"1", b"2"]]


def test_a_line_without_end_takes_no_more_memory_the_longer_it_is(file_of: Callable) -> None:
    path = file_of(gzip.compress(b"0" * 100_000_000, 1))
    tracemalloc.start()
    assert rows_of(path) == [[]]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000


def test_a_line_that_is_no_csv_is_a_row_without_fields(file_of: Callable) -> None:
    assert rows_of(file_of(b'a,b\n0,a "lone\r quote\n1,2\n')) == [[b"a", b"b"], [], [b"1", b"2"]]


def test_a_file_of_too_many_lines_is_not_read_to_its_end(file_of: Callable) -> None:
    with pytest.raises(InputError, match="more than 1,000,000 lines"):
        rows_of(file_of(gzip.compress(b"\n" * 30_000_000, 1)))


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "a JPEG picture"),
        (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"a\0b\n", "a binary file"),
    ],
)
def test_what_is_no_text_is_named_and_not_read(file_of: Callable, content: bytes, kind: str) -> None:
    for path in (file_of(content), file_of(gzip.compress(content))):
        with pytest.raises(InputError) as caught:
            rows_of(path)
        assert str(caught.value) == f"{path} is {kind}, no csv: check the path"


def test_an_empty_file_has_no_rows(file_of: Callable) -> None:
    assert rows_of(file_of(b"")) == []


def test_what_is_no_file_is_told_in_a_sentence(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # to open one waits for ever
    for name, told in (("pipe", "is not a file"), ("", "is not a file"), ("no", "does not exist")):
        with pytest.raises(InputError, match=f"{told}: check the path"):
            rows_of(tmp_path / name)


@pytest.mark.parametrize("form", ["csv", "gz", "zip", "tar.gz"])
def test_progress_rises_to_the_whole_file(
    file_of: Callable, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compressed, "BLOCK_BYTES", 1000)
    path, told = file_of(PACKED[form]), []
    with open_csv(path, PREFERRED, lambda *done: told.append(done)) as file:
        assert sum(1 for _ in file.rows) == len(ROWS)
    size = path.stat().st_size
    assert told == sorted(told)
    assert {total for _, total in told} == {size}
    assert told[-1][0] > size * 0.9 or form == "zip"


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["best.csv", "best.zip", "good.csv", "other.csv"], "best.csv"),
        (["good.csv", "best.csv.xz", "bestnew.csv"], "best.csv.xz"),
        (["best.tar.gz", "best.bib", "README"], "best.tar.gz"),
        (["anything.zip", "README", ".hidden.csv"], "anything.zip"),
    ],
)
def test_the_csv_in_a_folder_is_found(tmp_path: Path, names: list[str], found: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    for name in names:
        (tmp_path / name).touch()
    assert find_csv(tmp_path, PREFERRED) == tmp_path / found


def test_a_folder_without_a_csv_or_with_several_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"should hold one csv, .* but holds 'nothing'"):
        find_csv(tmp_path, PREFERRED)
    for name in ("b.csv", "a.zip"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"holds 'a\.zip, b\.csv'"):
        find_csv(tmp_path, PREFERRED)


def test_a_file_is_its_own_csv(tmp_path: Path) -> None:
    assert find_csv(tmp_path / "any", PREFERRED) == tmp_path / "any"
