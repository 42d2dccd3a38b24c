"""Families of samples, and the labels of containers as they are written.

The labels of a container are the same in each of its some sixty samples, so they are escaped and sorted once, and a
sample has them as text. Forms: Prometheus' "Exposition formats" and OpenMetrics 1.0, which escape alike. What a family
becomes as a whole is `encoding`'s matter. No I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar


class Kind(StrEnum):
    """A metric's type, by OpenMetrics' word."""

    COUNTER = "counter"
    GAUGE = "gauge"
    INFO = "info"
    UNKNOWN = "unknown"


class Labels(NamedTuple):
    """What tells a container from others, by the names that dashboards know; "" is left out."""

    id: str
    """The cgroup's path."""
    name: str = ""
    image: str = ""
    container: str = ""
    """Its name within the pod, as all below of Kubernetes alone."""
    namespace: str = ""
    pod: str = ""


Sample = tuple[str, float]
"""Labels in their braces, "" without any, and the value."""


class Family(NamedTuple):
    """One metric."""

    kind: Kind
    name: str
    """Of its samples: with `_total` of a counter, `_info` of an info."""
    help: str
    samples: Sequence[Sample]


def escaped(text: str) -> str:
    """A label's value between its quotes."""
    if "\\" in text or '"' in text or "\n" in text:
        return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
    return text


def braced(labels: Iterable[tuple[str, str]]) -> str:
    """Labels as a sample has them, by name."""
    pairs = ",".join(f'{name}="{escaped(value)}"' for name, value in sorted(labels))
    return f"{{{pairs}}}"


class Written:
    """The labels of one container, written once; `plain` alone, and with others beside them."""

    __slots__ = ("_labels", "_templates", "plain")

    def __init__(self, labels: Labels) -> None:
        self._labels = {name: value for name, value in labels._asdict().items() if value}
        self._templates: dict[tuple[str, ...], str] = {}
        self.plain = braced(self._labels.items())

    def beside(self, names: tuple[str, ...], *values: str) -> str:
        """With labels of these names and values, which a container's labels do not have."""
        template = self._templates.get(names)
        if template is None:
            template = self._templates[names] = self._template(names)
        return template % tuple(map(escaped, values))

    def among(self, labels: Mapping[str, str]) -> str:
        """With any other labels; the container's own go first."""
        return braced({**labels, **self._labels}.items())

    def _template(self, names: tuple[str, ...]) -> str:
        """In the order of names, which must be ascending, as all labels are."""
        pieces = {name: f'{name}="{escaped(value)}"'.replace("%", "%%") for name, value in self._labels.items()}
        pieces |= {name: f'{name}="%s"' for name in names}
        pairs = ",".join(pieces[name] for name in sorted(pieces))
        return f"{{{pairs}}}"


What = TypeVar("What")


class Row(NamedTuple, Generic[What]):
    """One metric of a table: `value` takes what the collector looks at; None is no sample."""

    kind: Kind
    name: str
    help: str
    value: Callable[[What], float | None]


def families(table: Iterable[Row[What]], seen: Sequence[tuple[str, What]]) -> Iterator[Family]:
    """The families of a table that have samples, of what was seen with its labels."""
    for kind, name, said, value in table:
        samples = [(labels, number) for labels, what in seen if (number := value(what)) is not None]
        if samples:
            yield Family(kind, name, said, samples)
