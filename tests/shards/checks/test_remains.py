from pathlib import Path

from shards.checks.remains import remains_of
from shards.schema import INDEX_NAME


def test_without_an_index_the_shards_are_told_by_names_that_we_write(folder: Path) -> None:
    (folder / INDEX_NAME).unlink()
    ours = {path.name for path in folder.glob("*.tar")}
    for name in ("drawn-train-00000\u0669.tar", "drawn-train-00001.tar", "drawn-other-000000.tar"):
        (folder / name).write_bytes(b"")
    remains = remains_of(folder)
    assert (remains.source, {part.name for part in remains.parts}) == ("drawn", ours)
    assert {part.name.split("-")[1] for part in remains.parts if part.split == "valid"} == {"valid"}
