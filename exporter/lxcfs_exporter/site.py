"""What the paths show: a request that was let in -> a reply.

    /metrics     (`--web.telemetry-path`) the exposition; ?collect[]=NAME, repeated, chooses among the collectors
    /-/healthy   200 while the process answers
    /-/ready     200 when it can scrape
    /            a page with links

A page is one function and one row of the table. The text of the metrics is `exposition`'s matter.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import parse_qs

from lxcfs_exporter import exposition
from lxcfs_exporter.exposition import Exposition
from lxcfs_exporter.http import Reply, Request

_MOST_FIELDS = 100
"""Of a query."""


class Site:
    """Every page; threads may ask for any at once."""

    def __init__(self, source: Exposition, telemetry_path: str, title: str) -> None:
        self._source = source
        self._telemetry_path = telemetry_path
        self._title = title
        self._pages: dict[str, Callable[[Request], Reply]] = {
            "/": self._landing,
            "/-/healthy": lambda _: Reply(HTTPStatus.OK, b"lxcfs-exporter is healthy.\n"),
            "/-/ready": lambda _: Reply(HTTPStatus.OK, b"lxcfs-exporter is ready.\n"),
            telemetry_path: self._metrics,
        }

    def answer(self, request: Request) -> Reply:
        """What a request gets."""
        if request.method not in ("GET", "HEAD"):
            return Reply(HTTPStatus.METHOD_NOT_ALLOWED, b"use GET or HEAD\n", (("Allow", "GET, HEAD"),))
        page = self._pages.get(request.path)
        if page is None:
            return Reply(HTTPStatus.NOT_FOUND, f"not found; metrics are at {self._telemetry_path}\n".encode())
        return page(request)

    def _metrics(self, request: Request) -> Reply:
        form = exposition.negotiate(request.headers.get("accept", ""), request.headers.get("accept-encoding", ""))
        try:
            wanted = frozenset(parse_qs(request.query, max_num_fields=_MOST_FIELDS).get("collect[]", ()))
            text = self._source.text(form, wanted)
        except (exposition.Unknown, ValueError) as error:
            return Reply(HTTPStatus.BAD_REQUEST, f"collect[]={error} is no collector that is on\n".encode())
        except exposition.Busy:
            return Reply(HTTPStatus.SERVICE_UNAVAILABLE, b"another scrape takes too long\n")
        headers = [("Content-Type", form.format.value), ("Vary", "Accept, Accept-Encoding")]
        if form.compressed:
            headers.append(("Content-Encoding", "gzip"))
        return Reply(HTTPStatus.OK, text, tuple(headers))

    def _landing(self, _: Request) -> Reply:
        links = ((self._telemetry_path, "metrics"), ("/-/healthy", "healthy"), ("/-/ready", "ready"))
        items = "".join(f'<li><a href="{html.escape(path)}">{name}</a></li>' for path, name in links)
        title = html.escape(self._title)
        text = (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title></head><body>'
            f"<h1>{title}</h1><p>The resources of every container of this host.</p><ul>{items}</ul></body></html>\n"
        )
        return Reply(HTTPStatus.OK, text.encode(), (("Content-Type", "text/html; charset=utf-8"),))
