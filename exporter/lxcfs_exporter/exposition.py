"""Families -> what goes over the wire: Prometheus' text or OpenMetrics, plain or gzip.

Overlapping requests share one collection and its text, so that a second Prometheus does not double the cost: whoever
comes while one is under way gets its result. Forms: Prometheus' "Exposition formats" and OpenMetrics 1.0; both are
prometheus_client's encoders.
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple

from prometheus_client import exposition as plain
from prometheus_client.core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

_LEVEL = 1
"""Of gzip: a fifth of level 9's time for a tenth more bytes."""


class Format(Enum):
    """A text form; the value is its Content-Type."""

    TEXT = plain.CONTENT_TYPE_PLAIN_0_0_4
    OPENMETRICS = openmetrics.CONTENT_TYPE_LATEST


_ENCODERS: dict[Format, Callable[[Collector], bytes]] = {
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


class Collected(Collector):
    """Families that are there already, in the shape that the encoders take."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Sequence[Metric]:
        return self._families


class Exposition:
    """The text of a source of families, one collection at a time."""

    def __init__(self, source: Collector, patience: float) -> None:
        """`patience`: seconds that a request waits for another one's collection."""
        self.waiting = 0
        """Requests that wait for their turn."""
        self._source = source
        self._patience = patience
        self._turn = threading.Condition()
        self._busy = False
        self._collections = 0
        self._collected = Collected(())
        self._texts: dict[Form, bytes] = {}

    def text(self, form: Form) -> bytes:
        """A collection that ended after this call began; Busy where none did in time."""
        seen = self._take_turn()
        try:
            if self._collections == seen:
                self._collected, self._texts = Collected(list(self._source.collect())), {}
                self._collections += 1
            if form not in self._texts:
                self._texts[form] = _encoded(self._collected, form)
            return self._texts[form]
        finally:
            self._give_turn()

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
                self._collected, self._texts = Collected(()), {}
            self._turn.notify()


def _encoded(source: Collector, form: Form) -> bytes:
    text = _ENCODERS[form.format](source)
    return gzip.compress(text, _LEVEL, mtime=0) if form.compressed else text
