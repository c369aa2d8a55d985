"""Members of a tar are found where they lie, and damage costs only what it hit."""

import io
import random
import tarfile
from pathlib import Path

import pytest

from shards.tar_members import CUT, GAP, NO_END, SPARSE, Member, header_at, members_of

NAMES = [f"{number}.png" for number in range(6)]


def contents(name: str) -> bytes:
    return name.encode() * (100 + int(name.partition(".")[0], 36))


def pack(path: Path, names: list[str], form: int = tarfile.USTAR_FORMAT, **options: object) -> Path:
    with tarfile.open(path, "w", format=form, **options) as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(contents(name))
            archive.addfile(info, io.BytesIO(contents(name)))
    return path


def read(path: Path) -> tuple[dict[str, bytes], list[tuple[str, str]]]:
    """What lies at the places that are told, and the troubles."""
    troubles: list[tuple[str, str]] = []
    with open(path, "rb") as file:
        members = list(members_of(file, lambda *trouble: troubles.append(trouble)))
    data = path.read_bytes()
    return {each.name: data[each.offset : each.offset + each.size] for each in members}, troubles


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_member_is_found_by_its_whole_name(tmp_path: Path, form: int) -> None:
    names = NAMES if form == tarfile.USTAR_FORMAT else [f"7.{'long/' * 60}caf\u00e9", *NAMES]
    members, troubles = read(pack(tmp_path / "a.tar", names, form))
    assert members == {name: contents(name) for name in names}
    assert troubles == []


def test_headers_for_all_members_are_no_trouble(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.tar", NAMES, tarfile.PAX_FORMAT, pax_headers={"comment": "x" * 2000})
    assert read(path) == ({name: contents(name) for name in NAMES}, [])


def test_folders_and_links_are_no_files(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.tar", NAMES)
    with tarfile.open(path, "a") as archive:
        for name, kind in (
            ("folder", tarfile.DIRTYPE),
            ("8.png", tarfile.SYMTYPE),
            ("9.png", tarfile.LNKTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "0.png"
            archive.addfile(info)
    assert read(path) == ({name: contents(name) for name in NAMES}, [])


def test_a_sparse_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("s.png")
        info.size = 512
        info.pax_headers = {"GNU.sparse.size": "4096", "GNU.sparse.map": "0,512"}
        archive.addfile(info, io.BytesIO(bytes(512)))
    assert read(path) == ({}, [(SPARSE, "s.png")])


def starts(path: Path) -> list[int]:
    with tarfile.open(path) as archive:
        return [member.offset for member in archive]


@pytest.mark.parametrize("hit", range(len(NAMES)))
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT])
def test_a_damaged_header_costs_one_member_and_says_where(tmp_path: Path, hit: int, form: int) -> None:
    path = pack(tmp_path / "a.tar", NAMES, form)
    at = starts(path)[hit]
    data = bytearray(path.read_bytes())
    data[at + 10] ^= 1
    path.write_bytes(data)
    members, troubles = read(path)
    assert members == {name: contents(name) for name in NAMES if name != NAMES[hit]}
    where = f"before {NAMES[hit + 1]}" if hit + 1 < len(NAMES) else "to the end"
    assert troubles == [(GAP, f"byte {at}, {where}")]


def test_a_hole_of_zeros_is_told_and_what_follows_is_read(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.tar", NAMES)
    at, end = starts(path)[1], starts(path)[3]
    data = bytearray(path.read_bytes())
    data[at:end] = bytes(end - at)
    path.write_bytes(data)
    members, troubles = read(path)
    assert list(members) == [NAMES[0], *NAMES[3:]]
    assert troubles == [(GAP, f"byte {at}, before 3.png")]


def test_a_tar_that_is_cut_short_gives_what_is_whole(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.tar", NAMES)
    data, at = path.read_bytes(), starts(path)
    path.write_bytes(data[: at[4] + 512 + 7])
    assert read(path) == ({name: contents(name) for name in NAMES[:4]}, [(CUT, "4.png")])
    path.write_bytes(data[: at[4] + 7])
    assert read(path) == ({name: contents(name) for name in NAMES[:4]}, [(GAP, f"byte {at[4]}, to the end")])
    path.write_bytes(data[: at[4]])
    assert read(path) == ({name: contents(name) for name in NAMES[:4]}, [(NO_END, f"byte {at[4]}")])


@pytest.mark.parametrize("offset", [-(2**70), -1, 300, 2**40, 2**63 - 1, 2**70])
def test_where_there_is_no_header_there_is_none(tmp_path: Path, offset: int) -> None:
    with open(pack(tmp_path / "a.tar", NAMES), "rb") as file:
        assert header_at(file.fileno(), offset) is None
        assert header_at(file.fileno(), 0).name == NAMES[0]


def test_what_is_no_tar_has_no_members(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(b"")
    assert read(path) == ({}, [(NO_END, "byte 0")])
    path.write_bytes(random.Random(0).randbytes(100_000))
    assert read(path) == ({}, [(GAP, "byte 0, to the end")])


def signed_header(name: str, size: bytes, kind: bytes) -> bytes:
    """A header with any 12 bytes as its size, and a checksum that is right."""
    info = tarfile.TarInfo(name)
    info.type = kind
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


@pytest.mark.parametrize("size", [-512, -1024, -(10**9), 10**9, 10**15])
@pytest.mark.parametrize(
    "kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME]
)
def test_a_size_that_cannot_be_never_leads_astray(tmp_path: Path, size: int, kind: bytes) -> None:
    whole = pack(tmp_path / "a.tar", NAMES).read_bytes()
    told = (b"\xff" if size < 0 else b"\x80") + (size % 256**11).to_bytes(11, "big")
    (tmp_path / "b.tar").write_bytes(signed_header("x.png", told, kind) + whole)
    members, troubles = read(tmp_path / "b.tar")
    assert set(members) <= set(NAMES)
    assert troubles


def test_a_tar_damaged_anywhere_gives_members_of_it_or_fewer(tmp_path: Path) -> None:
    whole, chance = pack(tmp_path / "a.tar", NAMES, tarfile.PAX_FORMAT).read_bytes(), random.Random(0)
    size = len(whole)
    for _ in range(300):
        data = bytearray(whole[: chance.randrange(size)] if chance.random() < 0.3 else whole)
        for _ in range(chance.randrange(1, 6)):
            if data:
                data[chance.randrange(len(data))] = chance.randrange(256)
        with open(tmp_path / "b.tar", "wb") as file:
            file.write(data)
        with open(tmp_path / "b.tar", "rb") as file:
            for member in members_of(file, lambda *_: None):
                assert isinstance(member, Member)
                assert 0 < member.offset <= member.offset + member.size <= len(data)
