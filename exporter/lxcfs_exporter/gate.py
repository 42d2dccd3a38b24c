"""What stands before every page: encryption, the rate of requests, passwords, and headers that are set on all replies.

Everything by the file of `--web.config.file` as it is now, for each connection and each request anew.
"""

from __future__ import annotations

import logging
import socket
import ssl
from http import HTTPStatus

from lxcfs_exporter import tls
from lxcfs_exporter.access import Bucket, Passwords
from lxcfs_exporter.http import PLAIN, Reply, Request
from lxcfs_exporter.settings import Settings
from lxcfs_exporter.site import Site
from lxcfs_exporter.webconfig import Rate, WebConfig

log = logging.getLogger("lxcfs-exporter")

_BASIC = ("WWW-Authenticate", 'Basic realm="lxcfs-exporter", charset="UTF-8"')


class Gate:
    """Lets connections and requests in to the site; threads may ask at once."""

    def __init__(self, site: Site, settings: Settings) -> None:
        self._site = site
        self._settings = settings
        self._passwords = Passwords()
        self._bucket: tuple[Rate, Bucket] | None = None

    def encrypts(self) -> bool:
        """Whether connections are encrypted now."""
        return self._settings.now().context is not None

    def wrapped(self, connection: socket.socket) -> socket.socket:
        """The connection, encrypted where the file says so; the handshake is still to come."""
        context = self._settings.now().context
        if context is None:
            return connection
        return context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)

    def keeps_out(self, connection: ssl.SSLSocket) -> bool:
        """Whether a client is none of those whose names are allowed; after the handshake."""
        config = self._settings.now().config
        return config.tls is not None and tls.refuses(config.tls, connection.getpeercert())

    def answer(self, request: Request) -> Reply:
        """The site's reply, or why there is none."""
        config = self._settings.now().config
        reply = self._refusal(config, request) or self._page(request)
        return reply._replace(headers=reply.headers + config.headers)

    def _page(self, request: Request) -> Reply:
        try:
            return self._site.answer(request)
        except Exception:
            log.exception('msg="cannot answer" path=%r', request.path)
            return Reply(HTTPStatus.INTERNAL_SERVER_ERROR, b"see the log of lxcfs-exporter\n")

    def _refusal(self, config: WebConfig, request: Request) -> Reply | None:
        if config.rate is not None and not self._bucket_of(config.rate).take():
            return Reply(HTTPStatus.TOO_MANY_REQUESTS, b"more requests than rate_limit allows\n")
        if not config.users:
            return None
        verdict = self._passwords.judge(config.users, request.headers.get("authorization", ""))
        if verdict == HTTPStatus.UNAUTHORIZED:
            return Reply(verdict, b"user and password, please\n", (PLAIN, _BASIC))
        if verdict != HTTPStatus.OK:
            return Reply(verdict, b"too many passwords are being tried\n")
        return None

    def _bucket_of(self, rate: Rate) -> Bucket:
        if self._bucket is None or self._bucket[0] != rate:
            self._bucket = (rate, Bucket(rate))
        return self._bucket[1]
