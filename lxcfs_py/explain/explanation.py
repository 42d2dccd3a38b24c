"""One virtual file of one container -> its Explanation: the text and everything said of it come from one Snapshot.

Names of formulas are, in this order, lines of the same file, facts of the view's explanation, and fields of the
Snapshot. Each formula is evaluated and held against what was printed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace

from lxcfs_py import errors
from lxcfs_py.caller import Container
from lxcfs_py.cgroup.model import Snapshot
from lxcfs_py.errors import NotFound
from lxcfs_py.explain import elsewhere, formula, sources, values
from lxcfs_py.explain.formula import Value
from lxcfs_py.explain.keeper import Reading as Keeper
from lxcfs_py.explain.lines import sysfs
from lxcfs_py.explain.lines.table import EXPLAINED
from lxcfs_py.explain.model import Explained, Explanation, Fact, Input, Line, Source
from lxcfs_py.explain.sources import Found
from lxcfs_py.host import Host
from lxcfs_py.snapshots import Snapshots
from lxcfs_py.views import swaps
from lxcfs_py.views.sysfs import SUBTREES
from lxcfs_py.views.table import View

_STAT = "memory.stat."


class Names:
    """What the names of one file's formulas come to."""

    def __init__(self, snapshot: Snapshot, explained: Explained) -> None:
        self._snapshot = snapshot
        self._facts = explained.facts
        self._lines = {line.name: line for line in explained.lines}

    def value(self, name: str) -> Value:
        """KeyError where there is no such name."""
        if name in self._lines:
            return self._lines[name].number
        fact = self._facts.get(name)
        if fact is None:
            return values.of(self._snapshot, name)
        return formula.evaluate(fact.formula, self.value) if fact.formula else fact.value

    def holds(self, line: Line) -> bool:
        """Whether a line's formula comes to what is printed."""
        return formula.evaluate(line.formula, self.value) == line.number

    def formula(self, name: str) -> str:
        """Of a line or of a fact that follows from others."""
        if name in self._lines:
            return self._lines[name].formula
        return self._facts[name].formula if name in self._facts else ""

    def all_of(self, roots: Iterable[str]) -> list[str]:
        """Names, and those that they follow from."""
        found: dict[str, None] = {}
        waiting = list(roots)
        while waiting:
            name = waiting.pop(0)
            if name not in found:
                found[name] = None
                own = self.formula(name)
                waiting.extend(formula.names(own) if own else ())
        return list(found)


class Explainer:
    """Of the files of one container."""

    def __init__(self, host: Host, keeper: Keeper, container: Container, chosen_by: Mapping[str, str]) -> None:
        self._host = host
        self._keeper = keeper
        self._container = container
        self._chosen_by = chosen_by
        self._snapshots = Snapshots(host, keeper)

    def explain(self, view: View, subject: str, labels: Sequence[str]) -> Explanation:
        """All lines, or those with these labels; NotFound where one has no line."""
        host_text = self._host.read(view.path)
        try:
            snapshot = self._snapshots.of(view, self._container)
            text = view.render(snapshot, host_text)
        except Exception as error:  # a mount serves the host's text then, whatever it is
            why = f"it could not be found out what the container has: {errors.describe(error)[0]}"
            return self._about(view.path, subject, "failed", why, host_text)
        explained = EXPLAINED[view.path](snapshot, host_text, text)
        return self._told(self._about(view.path, subject, "container", "", text), snapshot, explained, labels)

    def explain_passed(self, path: str, subject: str, text: bytes, labels: Sequence[str]) -> Explanation:
        """A file below a subtree of sysfs whose text for this container is known."""
        subtree = next(each for each in SUBTREES if path.startswith(f"{each.root}/"))
        below = path[len(subtree.root) + 1 :]
        snapshot = self._snapshots.below(subtree, self._container)
        try:
            device = self._host.read(f"{path.rpartition('/')[0]}/dev").decode("ascii", "replace").strip()
        except OSError:
            device = ""
        asked = sysfs.Asked(f"/{path}", self._host.read(path), text, device)
        explained = sysfs.explain(subtree, below, snapshot, asked)
        return self._told(self._about(path, subject, "passed", "", text), snapshot, explained, labels)

    def _told(self, about: Explanation, snapshot: Snapshot, explained: Explained, labels: Sequence[str]) -> Explanation:
        names = Names(snapshot, explained)
        if explained.host:
            inputs = tuple(self._inputs(snapshot, explained, names, explained.decided))
            return replace(about, source="host", why=explained.host, inputs=inputs)
        chosen = tuple(_chosen(about.file, explained.lines, labels))
        shown = frozenset(line.name for line in chosen)
        roots = [
            *(name for line in chosen for name in formula.names(line.formula)),
            *(() if labels else explained.decided),
        ]
        needed = (name for name in names.all_of(roots) if name not in shown)
        return replace(
            about,
            why=explained.rest,
            lines=chosen,
            inputs=tuple(self._inputs(snapshot, explained, names, needed)),
            disagree=frozenset(line.label for line in chosen if not names.holds(line)),
        )

    def _about(self, path: str, subject: str, source: Source, why: str, text: bytes) -> Explanation:
        container = self._container
        policy, cgroup = asdict(container.policy), container.cgroup.path
        return Explanation(f"/{path}", subject, cgroup, container.level, policy, self._chosen_by, source, why, text)

    def _inputs(self, snapshot: Snapshot, explained: Explained, names: Names, needed: Iterable[str]) -> Iterator[Input]:
        for name in needed:
            value = names.value(name)
            fact = explained.facts.get(name)
            if fact is None:
                line = next((line for line in explained.lines if line.name == name), None)
                fact = Fact(unit=line.unit, formula=line.formula, how=line.why) if line is not None else None
            if fact is not None:
                yield Input(name, value, fact.unit, fact.how, () if fact.read is None else (fact.read,), fact.formula)
                continue
            yield Input(name, value, *self._found(snapshot, name))

    def _found(self, snapshot: Snapshot, name: str) -> Found:
        container = self._container
        found = sources.of(self._host, container.cgroup, snapshot, name)
        if found is None:
            return elsewhere.of(self._host, container, snapshot, self._keeper, name) or Found("", "", ())
        if snapshot.memory is not None and name.startswith(_STAT):
            key = name.removeprefix(_STAT)
            if key in snapshot.memory.stat and key not in swaps.stat(snapshot):
                return found._replace(how="the policy does not tell of it")
        return found


def _chosen(file: str, lines: Sequence[Line], labels: Sequence[str]) -> Iterator[Line]:
    """Lines in the file's order. A label is a line's, or its beginning up to a blank: `cpu0` for all its columns."""
    if not labels:
        yield from lines
        return
    wanted = [label.rstrip(":").lower() for label in labels]
    for label, word in zip(labels, wanted, strict=True):
        if not any(_is_called(line, word) for line in lines):
            near = difflib.get_close_matches(label, [line.label for line in lines], 3)
            hint = f"did you mean {' or '.join(near)}?" if near else "without a line all are explained"
            raise NotFound(f"{file}: no line {label}", hint)
    yield from (line for line in lines if any(_is_called(line, word) for word in wanted))


def _is_called(line: Line, word: str) -> bool:
    label = line.label.lower()
    return label == word or label.startswith(f"{word} ") or line.name.lower() == word
