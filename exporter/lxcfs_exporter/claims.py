"""Cgroups that low-level runtimes recorded as their containers', by whatever path: an OCI configuration may name any.

Only what the superuser's runtimes recorded counts: an ordinary user could claim the cgroups of others.
Follows the state files of pyrun (`store`), runc (libcontainer's state.json) and crun (status).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from lxcfs_exporter import identity
from lxcfs_exporter.documents import Documents


class Claim(NamedTuple):
    """Whose container a cgroup is."""

    runtime: str
    name: str


class _State(NamedTuple):
    """Where a runtime keeps its containers, and the file of each."""

    runtime: str
    root: str
    file: str


_STATES = (
    _State("pyrun", "run/pyrun", "state.json"),
    _State("oci", "run/runc", "state.json"),
    _State("oci", "run/crun", "status"),
)


class Claims:
    """Reads a state once, for as long as it stays the same."""

    def __init__(self, documents: Documents, hierarchies: Iterable[str]) -> None:
        """`hierarchies` are the mount points, below the Host's root, to which recorded directories are relative."""
        self._documents = documents
        self._hierarchies = tuple(f"/{path}/" for path in hierarchies)
        self._known: dict[str, tuple[tuple[int, int, int], tuple[str, ...]]] = {}

    def now(self) -> Mapping[str, Claim]:
        """By path of the cgroup in its hierarchy."""
        known, self._known = self._known, {}
        return {path: claim for claim, paths in self._read(known) for path in paths}

    def _read(
        self, known: Mapping[str, tuple[tuple[int, int, int], tuple[str, ...]]]
    ) -> Iterator[tuple[Claim, tuple[str, ...]]]:
        for state in _STATES:
            for name in self._names(state.root):
                path = f"{state.root}/{name}/{state.file}"
                mark = self._documents.mark(path)
                if mark is None:
                    continue
                if path not in known or known[path][0] != mark:
                    self._known[path] = mark, tuple(self._paths(self._documents.json(path, 0)))
                else:
                    self._known[path] = known[path]
                yield Claim(state.runtime, name), self._known[path][1]

    def _names(self, root: str) -> list[str]:
        try:
            return sorted(self._documents.host.names(root))
        except OSError:
            return []

    def _paths(self, document: object) -> Iterator[str]:
        for place in identity.cgroups_of_state(document):
            top = next((top for top in self._hierarchies if place.startswith(top)), "/")
            yield place[len(top) - 1 :]
