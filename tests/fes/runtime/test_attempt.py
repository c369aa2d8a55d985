"""Ranks of one attempt find one another in a store that still holds what those before them wrote."""

import threading
from datetime import timedelta

import pytest
from torch.distributed import TCPStore

from fes.runtime.attempt import _KEY, _ask_name, _name_attempt


def test_a_rank_that_is_early_waits_for_the_rank_0_of_its_own_attempt(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    patience = timedelta(seconds=60)
    server = TCPStore("127.0.0.1", 0, is_master=True, timeout=patience)
    names: dict[int, str] = {}

    def ask() -> None:
        store = TCPStore("127.0.0.1", server.port, is_master=False, timeout=patience)
        names[1] = _ask_name(store, 1)

    for _ in range(2):
        before = dict(names)
        early = threading.Thread(target=ask)
        early.start()
        early.join(0.5)  # in the second attempt it finds the address of the first
        assert names == before
        names[0] = _name_attempt(server, 2)
        early.join(60)
        assert names[0] == names[1]
        assert names != before
    assert server.get(_KEY)
