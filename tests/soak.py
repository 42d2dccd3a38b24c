"""How long what runs for long runs: `make soak`, or LXCFS_PY_SOAK_SECONDS for any run. A test that can go on for as
long as one likes is marked `soak` and goes on for SECONDS; by default a few, so that `make test` has them all.
"""

from __future__ import annotations

import os

SECONDS = float(os.environ.get("LXCFS_PY_SOAK_SECONDS", "3"))
"""Of each such test."""
