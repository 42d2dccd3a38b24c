"""Descriptors that are closed beside the requests."""

from __future__ import annotations

import os
import threading

import pytest

from lxcfs_py.closing import Closing


def test_who_closes_does_not_wait_and_what_is_left_counts_by_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    closing, go = Closing(), threading.Event()
    closed: list[int] = []

    def close(descriptor: int) -> None:
        go.wait()
        closed.append(descriptor)
        if descriptor == 9000:
            raise OSError

    monkeypatch.setattr(os, "close", close)
    for descriptor, owner in ((9000, "/a"), (9001, "/a"), (9002, "/b")):
        closing.close(descriptor, owner)
    assert (closing.left("/a"), closing.left("/b"), closing.left("/c"), closing.all_left()) == (2, 1, 0, 3)
    go.set()
    while closing.all_left():
        os.sched_yield()
    assert (closed, closing.left("/a")) == ([9000, 9001, 9002], 0)
