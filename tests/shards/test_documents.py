from pathlib import Path

import pytest

from fes.errors import InputError
from shards.documents import read_document


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"[" * 100_000, b'{"a":' * 100_000])
def test_what_is_no_document_is_told_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json .*; copy it again"):
        read_document(tmp_path / "a.json", "copy it again")
