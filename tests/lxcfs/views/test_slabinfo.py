"""/proc/slabinfo: no cache, unless the kernel tells a container's own."""

from __future__ import annotations

import pytest

from lxcfs_py.views import slabinfo
from tests.lxcfs.views.containers import container

HEADER = b"slabinfo - version: 2.1\n# name            <active_objs> <num_objs> <objsize> : tunables <limit>\n"
HOST = HEADER + b"kmalloc-64     777  777   64 : tunables    0\n"
OWN = HEADER + b"dentry           5    5  192 : tunables    0\n"


@pytest.mark.parametrize(
    ("own", "host", "text"),
    [
        (None, HOST, HEADER),
        (OWN, HOST, OWN),
        (b"", HOST, HEADER),
        (b"dentry 5\n", HOST, HEADER),
        (None, b"", b""),
        (None, b"kmalloc-64 777\n", b""),
    ],
)
def test_render(own: bytes | None, host: bytes, text: bytes) -> None:
    assert slabinfo.render(container(slabinfo=own), host) == text
