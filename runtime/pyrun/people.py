"""What each command that is for people does with its arguments: what `everyday` lists, but for `launch`. Raises; `cli`
prints errors and says the exit codes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

from lxcfs_py.errors import Error, NotFound, UsageError
from lxcfs_py.record import TYPE_CHECKING
from pyrun import jsontext
from pyrun.arguments import Parsed
from pyrun.commands import Call
from pyrun.store import Store, usual

if TYPE_CHECKING:
    from pyrun import usage
    from pyrun.logfile import Wishes


def _store(call: Call) -> Store:
    return usual(call.general.get("--root"))


def ps(call: Call) -> int:
    """Of all containers, or the processes of one."""
    if call.own.words:
        return processes(call)
    import time

    from pyrun import listing

    now = time.time()
    found = list(listing.rows(_store(call), now, ended=call.own.has("--all")))
    if call.own.has("--quiet"):
        print("".join(f"{row.id}\n" for row in found), end="")
    elif call.own.get("--format") == "json":
        print(jsontext.pretty([row._asdict() for row in found]))
    else:
        print(listing.table(found, now), end="")
    return 0


def logs(call: Call) -> int:
    """What a container in the background said, each stream on that of ours."""
    from pyrun import logfile

    entry = _store(call).find(call.own.words[0])
    if not entry.in_background():
        raise NotFound(f"container {entry.id} has no log: it is not in the background", "pyrun launch --detach")
    sinks = {"stdout": sys.stdout.buffer, "stderr": sys.stderr.buffer}

    def put(stream: str, text: bytes) -> None:
        sinks[stream].write(text)
        sinks[stream].flush()

    telling = logfile.Telling(_log_wishes(call.own), put)
    if call.own.has("--follow"):
        logfile.follow(entry.log, lambda: entry.await_watcher(wait=False), telling.tell)
    else:
        telling.tell(logfile.Reader(entry.log).new())
    return 0


def _log_wishes(own: Parsed) -> Wishes:
    import time

    from pyrun import listing, logfile
    from pyrun.store import moment

    tail, since = own.get("--tail", "all"), own.get("--since")
    if tail != "all" and not (tail.isascii() and tail.isdecimal()):
        raise UsageError(f'logs: --tail: "{tail}" is not a number of lines', "--tail 100")
    try:
        begin = listing.moment_of(since, time.time()) if since else 0.0
    except UsageError as error:
        raise UsageError(f"logs: --since: {error.message}", "10m, 2026-01-31T12:00:00Z or seconds since 1970") from None
    return logfile.Wishes(
        tail=None if tail == "all" else int(tail),
        since=moment(int(begin * 1e9)) if since else "",
        timestamps=own.has("--timestamps"),
    )


def stop(call: Call) -> int:
    """One after the other; the names of those that have ended are printed."""
    from pyrun import ending, signals

    try:
        number = signals.number(call.own.get("--signal", "TERM"))
    except UsageError as error:
        raise UsageError(f"stop: --signal: {error.message}", error.hint) from None
    patience = call.own.get("--time", "10")
    if not (patience.isascii() and patience.isdecimal() and len(patience) < 7):
        raise UsageError(f'stop: --time: "{patience}" is not a number of seconds', "--time 10")
    for container_id in call.own.words:
        ending.stop(_store(call), container_id, number, float(patience))
        print(container_id)
    return 0


def wait(call: Call) -> int:
    from pyrun import ending

    for container_id in call.own.words:
        print(ending.wait(_store(call), container_id), flush=True)
    return 0


def use(call: Call) -> int:
    """What containers use."""
    import json

    from pyrun import quantities, usage

    try:
        interval = quantities.duration(call.own.get("--interval") or "1s")
    except UsageError as error:
        raise UsageError(f"stats: --interval: {error.message}", error.hint) from None
    clear = "\x1b[H\x1b[J" if sys.stdout.isatty() and not call.own.has("--no-stream") else ""

    def tell(uses: list[usage.Use]) -> None:
        if call.own.has("--json"):
            print("".join(f"{json.dumps(use.document())}\n" for use in uses), end="", flush=True)
        else:
            print(clear + usage.table(uses), end="", flush=True)

    usage.watch(_store(call), call.own.words, interval, once=call.own.has("--no-stream"), tell=tell)
    return 0


def processes(call: Call) -> int:
    """The pids of a container, or what ps(1) says of them."""
    from pyrun import container

    pids = container.processes(_store(call), call.own.words[0])
    if call.own.get("--format") == "json":
        print(f"[{','.join(map(str, pids))}]")
    else:
        print(_ps(call.own.words[1:] or ("-ef",), pids), end="")
    return 0


def _ps(words: Sequence[str], pids: Sequence[int]) -> str:
    """The head of ps(1)'s table and those of its lines that are of some processes."""
    import subprocess

    try:
        done = subprocess.run(("ps", *words), stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except FileNotFoundError:
        raise Error("there is no program ps on this machine", "pyrun ps --format json") from None
    if done.returncode:
        raise Error(f"ps {' '.join(words)} exited with {done.returncode}: {done.stderr.strip().partition(chr(10))[0]}")
    head, *lines = done.stdout.splitlines() or [""]
    if "PID" not in head.split():
        raise UsageError(f"ps {' '.join(words)}: the table has no column PID", "pyrun ps ID -ef")
    column = head.split().index("PID")
    wanted = set(map(str, pids))
    kept = (line for line in lines if line.split()[column : column + 1] and line.split()[column] in wanted)
    return "".join(f"{line}\n" for line in (head, *kept))


RUN: Mapping[str, Callable[[Call], int]] = {
    "ps": ps,
    "logs": logs,
    "stop": stop,
    "wait": wait,
    "stats": use,
    "top": processes,
}
