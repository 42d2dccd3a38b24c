"""Exceptions that come from another process are what they were there."""

from __future__ import annotations

import errno

import pytest

from lxcfs_py import errors
from pyrun import carried
from pyrun.channel import Failure
from pyrun.process import CommandError


def noted(error: OSError) -> OSError:
    error.add_note("while trying")
    return error


@pytest.mark.parametrize(
    "error",
    [
        errors.Error("a", "b"),
        errors.Error('"q" \n \u00e4'),
        errors.UsageError("a"),
        errors.ParseError("/f", 3, "why"),
        errors.SpecError("mounts[0]", "why"),
        errors.NotFound("a", "b"),
        errors.Conflict("a"),
        errors.Unsupported("a", None),
        Failure("a", "b", 127),
        noted(OSError(errno.ENOENT, "No such file or directory", "/f")),
        noted(OSError(errno.ENOSPC, "No space left on device")),
    ],
    ids=repr,
)
def test_it_comes_back_as_it_was(error: Exception) -> None:
    found = carried.unpack(carried.pack(error))
    assert (type(found), found.args, vars(found), errors.describe(found)) == (
        type(error),
        error.args,
        vars(error),
        errors.describe(error),
    )


@pytest.mark.parametrize(
    ("error", "message", "status"),
    [
        (CommandError("no such", 126, "b"), "no such", 126),
        (KeyError("x"), "KeyError: 'x'", 1),
    ],
)
def test_what_is_of_no_kind_that_callers_know_is_a_failure(error: Exception, message: str, status: int) -> None:
    found = carried.unpack(carried.pack(error))
    assert isinstance(found, Failure)
    assert (str(found), found.message, found.status) == (message, message, status)


def test_an_error_of_the_kernel_is_of_its_class() -> None:
    assert isinstance(carried.unpack(carried.pack(PermissionError(errno.EPERM, "x", "/f"))), PermissionError)
