"""Containers as a person lists them: `pyrun ps`, and what it says of one that has ended.

Words are Docker's: "Up 3 minutes", "Exited (137) 2 hours ago".
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from lxcfs_py.errors import NotFound, SpecError
from lxcfs_py.record import NamedTuple
from pyrun import container, fields, quantities, tables
from pyrun.store import Entry, Store

_LONGEST = 40
"""Letters of a command in a table."""

_UNITS = (
    (365 * 86400, "year"),
    (30 * 86400, "month"),
    (7 * 86400, "week"),
    (86400, "day"),
    (3600, "hour"),
    (60, "minute"),
)


class Row(NamedTuple):
    """A container in a table."""

    id: str
    command: str
    created: str
    """RFC 3339."""
    state: str
    """creating, created, running, paused or exited."""
    status: str
    """The same as a sentence."""
    exit_status: int | None
    """None where it has not ended, or nobody kept that."""
    pid: int
    """Of its first process; 0 where there is none."""


def rows(store: Store, now: float, *, ended: bool) -> Iterator[Row]:
    """Those that run, with `ended` all; the youngest first. `now` is in seconds since the epoch."""
    found = []
    for container_id in store.ids():
        try:
            row = _row(store, container_id, now)
        except NotFound:
            continue  # removed since, or not recorded yet
        if ended or row.state in ("running", "paused"):
            found.append(row)
    yield from sorted(found, key=lambda row: row.created, reverse=True)


def _row(store: Store, container_id: str, now: float) -> Row:
    entry = store.find(container_id)
    state = container.state(store, container_id)
    status, created = state["status"], state["created"]
    ended = entry.exit() if status == "stopped" else None
    shown, exit_status = f"{status[0].upper()}{status[1:]}", None
    if status == "stopped":
        status, exit_status = "exited", ended.status if ended else None
        shown = f"Exited ({ended.status}) {ago(ended.moment, now)}" if ended else "Exited"
    elif status in ("running", "paused"):
        shown = f"Up {span(now - seconds(created))}{' (Paused)' if status == 'paused' else ''}"
    return Row(container_id, _command(entry), created, status, shown, exit_status, state["pid"])


def _command(entry: Entry) -> str:
    try:
        with open(entry.config, "rb") as file:
            return " ".join(fields.parse(file.read()).child("process").texts("args"))
    except (FileNotFoundError, SpecError):
        return ""


def table(listed: list[Row], now: float) -> str:
    heads = ("CONTAINER ID", "COMMAND", "CREATED", "STATUS", "PID")
    rows = ((row.id, _short(row.command), ago(row.created, now), row.status, str(row.pid)) for row in listed)
    return tables.text(heads, rows)


def _short(command: str) -> str:
    shown = "".join(letter if letter.isprintable() else "?" for letter in command)
    return f'"{shown}"' if len(shown) <= _LONGEST else f'"{shown[: _LONGEST - 1]}…"'


def seconds(moment: str) -> float:
    """An RFC 3339 moment since the epoch."""
    return datetime.fromisoformat(moment).timestamp()


def ago(moment: str, now: float) -> str:
    return f"{span(now - seconds(moment))} ago"


def span(passed: float) -> str:
    """3725.0 -> "About an hour", as Docker tells it."""
    if passed < 1:
        return "Less than a second"
    for unit, name in _UNITS:
        if passed >= unit:
            count = int(passed // unit)
            return f"About {'an' if name == 'hour' else 'a'} {name}" if count == 1 else f"{count} {name}s"
    return f"{int(passed)} second{'s' if passed >= 2 else ''}"


def moment_of(text: str, now: float) -> float:
    """What a person calls a moment, in seconds since the epoch: "10m" ago, an RFC 3339 date, or those seconds."""
    if text.replace(".", "", 1).isdecimal():
        return float(text)
    try:
        return seconds(text)
    except ValueError:
        return now - quantities.duration(text)
