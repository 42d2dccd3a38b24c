"""What goes over the wire, and that overlapping requests share one collection."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge, parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from lxcfs_exporter.encoding import Format
from lxcfs_exporter.exposition import ALL, Busy, Exposition, Form, Unknown, negotiate
from lxcfs_exporter.series import Family, Kind

TEXT, OPENMETRICS = Format.TEXT, Format.OPENMETRICS
PROMETHEUS = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
PROMETHEUS += "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,"

ACCEPT = [
    ("", TEXT),
    ("*/*", TEXT),
    ("text/html,application/xhtml+xml,*/*;q=0.8", TEXT),
    (PROMETHEUS, OPENMETRICS),
    (PROTOBUF + PROMETHEUS, OPENMETRICS),
    ("text/plain;version=1.0.0;escaping=allow-utf-8;q=0.5,*/*;q=0.1", TEXT),
    ("application/openmetrics-text;q=0.1,text/plain", TEXT),
    ("application/openmetrics-text;q=0", TEXT),
    ("APPLICATION/OPENMETRICS-TEXT", OPENMETRICS),
    ("application/openmetrics-text;version=abc", OPENMETRICS),
    ("application/openmetrics-text;q=high", TEXT),
    ("application/openmetrics-text;q=nan", TEXT),
    (";;,,==", TEXT),
]
ENCODING = [
    ("", False),
    ("gzip", True),
    ("deflate, gzip;q=0.5", True),
    ("gzip;q=0", False),
    ("identity", False),
    ("*", True),
    ("*;q=0", False),
    ("gzip;q=0, *", False),
    ("x-gzipped", False),
]


@pytest.mark.parametrize(("accept", "form"), ACCEPT)
def test_the_best_liked_form_that_we_have_is_chosen(accept: str, form: Format) -> None:
    assert negotiate(accept, "") == Form(form, False)


@pytest.mark.parametrize(("encoding", "compressed"), ENCODING)
def test_gzip_is_used_where_it_is_accepted(encoding: str, compressed: bool) -> None:
    assert negotiate("", encoding) == Form(TEXT, compressed)


@given(st.text(), st.text())
def test_no_header_is_an_error(accept: str, encoding: str) -> None:
    negotiate(accept, encoding)


class Source:
    """Counts its collections; each waits until it may go on."""

    names = frozenset(("a", "b"))

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.collections = 0
        self.wanted: list[frozenset[str]] = []

    def collect(self, wanted: frozenset[str] = ALL) -> Iterator[Family]:
        self.collections += 1
        self.wanted.append(wanted)
        self.begun.release()
        assert self.go.acquire(timeout=60)
        yield Family(Kind.GAUGE, "collections", "How many.", [("", self.collections)])


@pytest.fixture
def source() -> Source:
    return Source()


def in_thread(exposition: Exposition, form: Form, results: list[bytes]) -> threading.Thread:
    thread = threading.Thread(target=lambda: results.append(exposition.text(form)), daemon=True)
    thread.start()
    return thread


def test_every_form_reads_back_the_same(source: Source) -> None:
    exposition = Exposition(source, 1)
    source.go.release(4)
    for form, read in (
        (TEXT, parser.text_string_to_metric_families),
        (OPENMETRICS, openmetrics_parser.text_string_to_metric_families),
    ):
        plain = exposition.text(Form(form, False)).decode()
        packed = gzip.decompress(exposition.text(Form(form, True))).decode()
        assert [family.name for family in read(plain)] == [family.name for family in read(packed)] == ["collections"]


def test_requests_one_after_the_other_collect_anew(source: Source) -> None:
    exposition = Exposition(source, 1)
    source.go.release(2)
    first, second = (exposition.text(Form(TEXT, False)) for _ in range(2))
    assert (b"collections 1.0" in first, b"collections 2.0" in second) == (True, True)


def test_requests_that_come_while_one_collects_share_its_result(source: Source) -> None:
    exposition = Exposition(source, 600)
    results: list[bytes] = []
    threads = [in_thread(exposition, Form(TEXT, False), results)]
    assert source.begun.acquire(timeout=60)
    forms = (Form(TEXT, False), Form(OPENMETRICS, False), Form(TEXT, True))
    threads += [in_thread(exposition, form, results) for form in forms]
    while exposition.waiting < len(forms):
        threading.Event().wait(0.001)
    source.go.release()
    for thread in threads:
        thread.join(60)
    assert (len(results), source.collections) == (4, 1)


def test_a_request_does_not_wait_for_ever_for_another_ones_collection(source: Source) -> None:
    exposition = Exposition(source, 0.05)
    results: list[bytes] = []
    thread = in_thread(exposition, Form(TEXT, False), results)
    assert source.begun.acquire(timeout=60)
    with pytest.raises(Busy):
        exposition.text(Form(TEXT, False))
    source.go.release()
    thread.join(60)
    assert len(results) == 1


def test_a_collection_that_fails_leaves_the_next_one_its_turn(source: Source) -> None:
    class Failing(Source):
        def collect(self, wanted: frozenset[str] = ALL) -> Iterator[Family]:
            if self.collections == 0:
                self.collections = 1
                raise OSError("once")
            yield from super().collect(wanted)

    failing = Failing()
    failing.go.release()
    exposition = Exposition(failing, 1)
    with pytest.raises(OSError, match="once"):
        exposition.text(Form(TEXT, False))
    assert b"collections 2.0" in exposition.text(Form(TEXT, False))


def test_others_are_told_after_the_source_in_every_form(source: Source) -> None:
    others = CollectorRegistry()
    Gauge("other", "Of the process.", registry=others).set(5)
    exposition = Exposition(source, 1, others)
    source.go.release(2)
    assert exposition.text(Form(TEXT, False)).endswith(b"# TYPE other gauge\nother 5.0\n")
    assert exposition.text(Form(OPENMETRICS, False)).endswith(b"# TYPE other gauge\nother 5.0\n# EOF\n")


def test_collectors_that_are_asked_for_are_collected_and_not_shared_with_who_wants_others(source: Source) -> None:
    exposition = Exposition(source, 600)
    results: list[bytes] = []
    threads = [in_thread(exposition, Form(TEXT, False), results)]
    assert source.begun.acquire(timeout=60)
    only = frozenset(("a",))
    for wanted in (ALL, only, only, ALL):
        threads.append(threading.Thread(target=lambda wanted=wanted: exposition.text(Form(TEXT, True), wanted)))
        threads[-1].start()
    while exposition.waiting < 4:
        threading.Event().wait(0.001)
    source.go.release(2)
    for thread in threads:
        thread.join(60)
    assert source.wanted == [ALL, only]


def test_a_collector_that_is_not_on_is_refused(source: Source) -> None:
    with pytest.raises(Unknown, match="c"):
        Exposition(source, 1).text(Form(TEXT, False), frozenset(("a", "c")))
