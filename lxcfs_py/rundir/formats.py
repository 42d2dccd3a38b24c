"""Which form the files of the run directory have, by kind, so that a later release knows what it can go on with.

Whoever changes the form of a kind's files raises its number. Where a daemon finds another number than its own it makes
those files anew. What open files lose by that:

    slots     a request at which a worker was killed is not answered
    texts     a text of which a part was read goes on in one of another moment
    triggers  who waits at a pressure file finds nothing to wait for (POLLERR) when it asks again

`nodes` and `numbers` cannot be made anew: a file that is bound into a container has its inode number for ever. Where
those have another form no mount goes on, and the containers are given the files of new ones (`repair`). Records carry a
layout of their own, and configuration.json is written at each start.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress

OURS: Mapping[str, int] = dict.fromkeys(
    ("slots", "texts", "nodes", "counters", "control", "triggers", "numbers", "announced", "stalls"), 1
)
LASTING = frozenset({"nodes", "numbers"})
"""The kinds that cannot be made anew."""
FIRST: Mapping[str, int] = dict.fromkeys(OURS, 1)
"""Those of the release that did not note them."""

_BY_CALLER = {
    "slots": ("slots",),
    "texts": ("texts", "handles", "kept"),
    "counters": ("counters",),
    "control": ("control",),
    "stalls": ("stalls",),
}
_BY_CONTAINER = {"slots": ("kept-files/slot",), "announced": ("kept-files/announced",)}
_PRESSURE = {
    "slots": ("pressure/slot",),
    "texts": ("pressure/texts", "pressure/handles", "pressure/kept"),
    "triggers": ("pressure/triggers", "pressure/events"),
}


def foreign(known: Mapping[str, int]) -> list[str]:
    """The kinds whose files have another form than ours."""
    return [kind for kind, number in OURS.items() if known.get(kind) != number]


def renew(path: str, kinds: list[str]) -> None:
    """Remove the files of some kinds, which nobody may use any more."""
    for table in (_BY_CALLER, _BY_CONTAINER, _PRESSURE):
        for kind in kinds:
            for name in table.get(kind, ()):
                shutil.rmtree(f"{path}/{name}", ignore_errors=True)
                with suppress(FileNotFoundError):
                    os.unlink(f"{path}/{name}")
