"""Whether anybody still serves a file system, asked from within a namespace that it is mounted in.

A FUSE connection that was let go of answers ENOTCONN to every request and never lives again. There is no way to learn
that without a request, which waits where somebody lives and does not answer: so this runs in a child (`turns`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal, NamedTuple

from lxcfs_py.repair.namespaces import Namespace, Visitor, is_dead

Health = Literal["dead", "alive", "unseen"]


class Sample(NamedTuple):
    """Where a device is mounted."""

    namespace: Namespace
    mount: int
    path: str


class Device(NamedTuple):
    """A file system and some of the places where it may be seen."""

    device: str
    samples: Sequence[Sample]


class Prober:
    """What asks one file system after another."""

    def __init__(self) -> None:
        self._visitor = Visitor()

    def ask(self, device: Device) -> Health:
        """By the first sample that is seen where it should be."""
        for sample in device.samples:
            try:
                self._visitor.enter(sample.namespace)
                place = self._visitor.open(sample.path)
            except OSError:
                continue
            try:
                if self._visitor.identify(place) == (device.device, sample.mount):
                    return "dead" if is_dead(place) else "alive"
            finally:
                os.close(place)
        return "unseen"
