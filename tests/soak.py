"""How long what runs for long runs: `make soak`, or LXCFS_PY_SOAK_SECONDS for any run. A test that can go on for as
long as one likes is marked `soak` and goes on for SECONDS; by default a few, so that `make test` has them all.
"""

from __future__ import annotations

import os
import re

import pytest

_VARIABLE = "LXCFS_PY_SOAK_SECONDS"
_ASKED = os.environ.get(_VARIABLE, "3")
if not re.fullmatch(r"\d+(\.\d+)?", _ASKED):
    pytest.exit(f"{_VARIABLE}: {_ASKED!r} is not a number of seconds, as 600", returncode=2)

SECONDS = float(_ASKED)
"""Of each such test."""
