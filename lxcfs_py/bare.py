"""The interpreter's own `signal`, for programs that start often: the module of that name imports `enum` first, 2 ms.

Signals and actions are plain numbers here.
"""

from __future__ import annotations

from lxcfs_py.record import TYPE_CHECKING

if TYPE_CHECKING:
    import signal as signal
else:
    import _signal as signal  # noqa: F401
