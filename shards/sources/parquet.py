"""Reads CelebA from parquet files, as it lies on Hugging Face: a row per picture, its bytes in a column."""

import bisect
import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from fes.errors import InputError
from shards.documents import printable
from shards.schema import Picture, Unreadable
from shards.sources.celeba_lists import Told
from shards.sources.files_in import tells_of_damage, unread
from shards.sources.splits import split_named

if TYPE_CHECKING:
    import pyarrow

PICTURE_COLUMNS = ("image", "img", "picture", "jpg", "png")
NAME_COLUMNS = ("filename", "file", "imageid", "imagename", "path", "name")
IDENTITY_COLUMNS = ("celebid", "identity", "identityid", "personid")
NO_BYTES = Unreadable("row without the bytes of a picture")
DAMAGED = Unreadable("part of a parquet file that cannot be read")


@dataclass(frozen=True)
class ParquetFiles:
    """Parquet files; of each the column that holds the bytes of the pictures, and what tells of changes."""

    paths: tuple[Path, ...]
    columns: tuple[str, ...]
    stamps: tuple[str, ...]

    @property
    def stamp(self) -> str:
        """Changes with the names, sizes and times of change of the files."""
        return "\n".join(self.stamps)

    def read(self, rows: Sequence[tuple[int, int]]) -> list[Picture]:
        """The bytes of the pictures in these rows, each the number of a file and that of a row in it.

        Neighbours come fast: they lie in one group of rows.
        Raises InputError where the trouble may be gone the next time, like `FilesIn.read`.
        """
        return [self._picture(*row) for row in rows]

    def _picture(self, file: int, row: int) -> Picture:
        path, stamp = self.paths[file], self.stamps[file]
        try:
            starts = _group_starts(path, stamp)
            group = bisect.bisect_right(starts, row) - 1
            content = _group(path, stamp, self.columns[file], group)[row - starts[group]].as_py()
        except MemoryError as error:
            raise unread(path, error) from error
        except OSError as error:
            if tells_of_damage(error):
                return DAMAGED
            raise unread(path, error) from error
        except Exception:  # pyarrow meets damage with a dozen kinds of exception
            return DAMAGED
        return NO_BYTES if content is None else content


def read_told(path: Path, number: int) -> tuple[str, list[Told]]:
    """The column of the pictures in the file of this number, and what its rows tell.

    The split is a word in the name of the file (train-00000-of-00019), or else the name of its folder.
    Attributes are the columns of booleans, or of -1, 0 and 1.
    Raises InputError where the file cannot be read or has no such column.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputError("reading parquet files takes pyarrow: pip install pyarrow") from None
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            columns = _columns(file.schema_arrow, pyarrow.types)
            table = file.read(columns.facts, use_threads=False).flatten() if columns else None
    except OSError as error:
        raise (_damaged(path, error) if tells_of_damage(error) else unread(path, error)) from error
    except Exception as error:  # pyarrow meets damage with a dozen kinds of exception
        raise _damaged(path, error) from error
    if table is None:
        raise InputError(f"{path} has no column with the bytes of pictures: give the parquet files of CelebA")
    split = next(filter(None, map(split_named, (*re.split(r"\W|_", path.stem), path.parent.name))), None)
    told = zip(_names(table, columns), _attributes(table, columns), _identities(table, columns), strict=True)
    return columns.picture, [
        Told((number, row), name or f"{path.name} row {row + 1}", *rest, split)
        for row, (name, *rest) in enumerate(told)
    ]


def _damaged(path: Path, error: Exception) -> InputError:
    told = ascii(str(error))[1:-1][:100]
    return InputError(f"cannot read {path} ({told}): it is cut short or damaged, fetch it again")


@dataclass(frozen=True)
class _Columns:
    """The names of a file's columns; those in `flags` may be attributes."""

    picture: str
    name: str | None
    identity: str | None
    flags: list[str]

    @property
    def facts(self) -> list[str]:
        """All but the picture's bytes."""
        return [*self.flags, *(name for name in (self.name, self.identity) if name)]


def _columns(schema: "pyarrow.Schema", types: ModuleType) -> _Columns | None:
    def find(names: tuple[str, ...], fits: Callable[["pyarrow.DataType"], bool]) -> str | None:
        fitting = [field.name for field in schema if fits(field.type)]
        known = {re.sub("[^a-z0-9]", "", name.lower()): name for name in fitting}
        return next((known[name] for name in names if name in known), None)

    def is_file(kind: "pyarrow.DataType") -> bool:
        return types.is_struct(kind) and kind.get_field_index("bytes") >= 0

    def is_bytes(kind: "pyarrow.DataType") -> bool:
        return types.is_binary(kind) or types.is_large_binary(kind)

    picture, name = find(PICTURE_COLUMNS, is_bytes), find(NAME_COLUMNS, types.is_string)
    if file := find(PICTURE_COLUMNS, is_file):
        has_path = schema.field(file).type.get_field_index("path") >= 0
        picture, name = f"{file}.bytes", f"{file}.path" if has_path else name
    if picture is None:
        return None
    identity = find(IDENTITY_COLUMNS, types.is_integer)
    flags = [field.name for field in schema if types.is_boolean(field.type) or types.is_integer(field.type)]
    return _Columns(picture, name, identity, [flag for flag in flags if flag != identity])


def _names(table: "pyarrow.Table", columns: _Columns) -> Iterable[str]:
    if columns.name is None:
        return itertools.repeat("", len(table))
    paths = (path or "" for path in table[columns.name].to_pylist())
    return (printable(path.replace("\\", "/").rpartition("/")[2]) for path in paths)


def _identities(table: "pyarrow.Table", columns: _Columns) -> Iterable[int | None]:
    if columns.identity is None:
        return itertools.repeat(None, len(table))
    people = table[columns.identity].to_pylist()
    return (who if who is not None and 0 <= who < 2**63 else None for who in people)


def _attributes(table: "pyarrow.Table", columns: _Columns) -> Iterable[tuple[str, ...] | None]:
    """The names of those that hold."""
    flags = {name: table[name].to_pylist() for name in columns.flags}
    flags = {name: values for name, values in flags.items() if {*values} <= {-1, 0, 1, None}}
    if not flags:
        return itertools.repeat(None, len(table))
    rows = zip(*([value == 1 for value in values] for values in flags.values()), strict=True)
    return (tuple(itertools.compress(flags, row)) for row in rows)


# Only data is kept, no open file: a process that is forked off may use what is here.
@lru_cache(maxsize=256)
def _group_starts(path: Path, stamp: str) -> list[int]:
    """The first row of every group of rows."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    return [0, *itertools.accumulate(sizes[:-1])]


@lru_cache(maxsize=1)
def _group(path: Path, stamp: str, column: str, group: int) -> "pyarrow.ChunkedArray":
    """The pictures' bytes in a group of rows."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        return file.read_row_group(group, [column], use_threads=False).flatten().column(0)
