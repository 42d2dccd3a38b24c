"""A process that a supervisor has started ends where it ends, and never does what its parent would do next."""

from __future__ import annotations

import os
import sys

import pytest

from lxcfs_py import children


def fail() -> None:
    raise ValueError("of the test")


@pytest.mark.parametrize(("run", "status"), [(lambda: None, 0), (fail, 1), (sys.exit, 1)])
def test_a_child_whose_log_is_full_ends_all_the_same(run: object, status: int) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            sys.stderr = open("/dev/full", "w")  # noqa: SIM115  what is written fails when it is flushed
            sys.stderr.write("a line")
            children.begin(run)  # type: ignore[arg-type]
        finally:
            os._exit(77)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == status
