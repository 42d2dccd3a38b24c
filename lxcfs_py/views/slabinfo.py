"""/proc/slabinfo (slabinfo(5), mm/slab_common.c:slab_show): the header and no cache.

What the kernel's caches hold belongs to all containers together. cgroup v1 before Linux 5.9 has a container's own part
in the same form (memory.kmem.slabinfo); there that is shown.
"""

from __future__ import annotations

from lxcfs_py.cgroup.model import Snapshot

_HEADER = (b"slabinfo - version", b"# name")


def render(snapshot: Snapshot, host_text: bytes) -> bytes:
    """The host's header, or the container's own text."""
    own = snapshot.slabinfo
    if own is not None and own.startswith(_HEADER):
        return own
    return b"".join(line for line in host_text.splitlines(keepends=True)[: len(_HEADER)] if line.startswith(_HEADER))
