"""What an OCI `linux.resources` asks for, as files of cgroup v1 or v2 and what is written into them, in order.

Follows runtime-spec config-linux.md and the kernel's admin-guide/cgroup-v1/*.rst and cgroup-v2.rst. Pure: which
controller is on which version is a parameter, `cgroups.py` finds the directories and writes.
"""

from __future__ import annotations

from typing import NamedTuple


class Write(NamedTuple):
    """One write(2) of `value` to `file` in the cgroup's directory of `controller`."""

    controller: str
    """As /proc/cgroups has it; "" is the unified hierarchy itself."""
    file: str
    value: str
    optional: bool = False
    """A file that this kernel does not have is no failure."""
