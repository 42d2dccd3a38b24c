"""Families -> what goes over the wire: Prometheus' text or OpenMetrics, plain or gzip.

Overlapping requests share one collection and its text, so that a second Prometheus does not double the cost: whoever
comes while one is under way gets its result. Families of containers are written by `encoding`; the few
about the process itself are prometheus_client's. Compressed text is never in memory as a whole before it is compressed:
of a thousand containers it is some ten megabytes.
"""

from __future__ import annotations

import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from prometheus_client import exposition as plain
from prometheus_client import registry
from prometheus_client.openmetrics import exposition as openmetrics

from lxcfs_exporter import encoding
from lxcfs_exporter.encoding import Format
from lxcfs_exporter.series import Family

_LEVEL = 1
"""Of gzip: a fifth of level 9's time for a tenth more bytes."""
_MOST = 4
"""Collections of different sets of collectors that are kept for who waits."""
ALL: frozenset[str] = frozenset()
"""Every collector that is on."""

_OTHERS: dict[Format, Callable[[registry.Collector], bytes]] = {
    Format.TEXT: plain.generate_latest,
    Format.OPENMETRICS: openmetrics.generate_latest,
}
_MEDIA = {
    "application/openmetrics-text": Format.OPENMETRICS,
    "text/plain": Format.TEXT,
    "text/*": Format.TEXT,
    "*/*": Format.TEXT,
}


class Form(NamedTuple):
    """What one request gets."""

    format: Format
    compressed: bool


class Busy(Exception):
    """Another collection takes longer than this request may wait."""


class Unknown(Exception):
    """A collector was asked for by a name that none has that is on; its text is the name."""


class Source(Protocol):
    """Where the families of containers come from; not for two threads at once."""

    @property
    def names(self) -> frozenset[str]:
        """The collectors that are on."""
        ...

    def collect(self, wanted: frozenset[str] = ALL) -> Iterable[Family]:
        """Those of the named collectors, of all that are on where none is named."""
        ...


def negotiate(accept: str, accept_encoding: str) -> Form:
    """The form that the two headers like best (RFC 9110, 12.5); text where they say nothing that we know."""
    likes = [(quality, _MEDIA[name]) for name, quality in _qualities(accept) if name in _MEDIA and quality > 0]
    best = max(likes, key=lambda like: like[0], default=(0.0, Format.TEXT))[1]
    codings = dict(_qualities(accept_encoding))
    return Form(best, codings.get("gzip", codings.get("*", 0.0)) > 0)


def _qualities(header: str) -> list[tuple[str, float]]:
    found = []
    for item in header.split(","):
        name, *parameters = (word.strip().lower() for word in item.split(";"))
        weight = next((word[2:] for word in parameters if word.startswith("q=")), "1")
        try:
            found.append((name, float(weight)))
        except ValueError:
            found.append((name, 0.0))
    return found


class _Collected(NamedTuple):
    """One collection, and what it has become by now."""

    number: int
    families: Sequence[Family]
    texts: dict[Form, bytes]


class Exposition:
    """The text of a source of families, one collection at a time."""

    def __init__(self, source: Source, patience: float, others: registry.Collector | None = None) -> None:
        """`patience`: seconds that a request waits for another one's collection; `others` are told after the source."""
        self.waiting = 0
        """Requests that wait for their turn."""
        self._source = source
        self._others = others or registry.CollectorRegistry()
        self._patience = patience
        self._turn = threading.Condition()
        self._busy = False
        self._collections = 0
        self._collected: OrderedDict[frozenset[str], _Collected] = OrderedDict()

    def text(self, form: Form, wanted: frozenset[str] = ALL) -> bytes:
        """A collection of the named collectors that ended after this call began; Busy where none did in time, Unknown
        where one of them is not on."""
        for name in sorted(wanted - self._source.names):
            raise Unknown(name)
        seen = self._take_turn()
        try:
            known = self._collected.get(wanted)
            if known is None or known.number <= seen:
                known = self._collect(wanted)
            if form not in known.texts:
                known.texts[form] = b"".join(self._pieces(known.families, form))
            return known.texts[form]
        finally:
            self._give_turn()

    def _collect(self, wanted: frozenset[str]) -> _Collected:
        families = list(self._source.collect(wanted))
        self._collections += 1
        found = _Collected(self._collections, families, {})
        self._collected[wanted] = found
        while len(self._collected) > _MOST:
            self._collected.popitem(last=False)
        return found

    def _pieces(self, families: Iterable[Family], form: Form) -> Iterator[bytes]:
        if not form.compressed:
            yield from self._lines(families, form.format)
            return
        packer = zlib.compressobj(_LEVEL, wbits=31)
        for piece in self._lines(families, form.format):
            yield packer.compress(piece)
        yield packer.flush()

    def _lines(self, families: Iterable[Family], form: Format) -> Iterator[bytes]:
        yield from map(encoding.ENCODERS[form], families)
        yield _OTHERS[form](self._others)

    def _take_turn(self) -> int:
        """How many collections there had been when the call began."""
        with self._turn:
            seen = self._collections
            self.waiting += 1
            try:
                if not self._turn.wait_for(lambda: not self._busy, self._patience):
                    raise Busy
                self._busy = True
            finally:
                self.waiting -= 1
        return seen

    def _give_turn(self) -> None:
        with self._turn:
            self._busy = False
            if not self.waiting:  # nobody will share it
                self._collected.clear()
            self._turn.notify()
