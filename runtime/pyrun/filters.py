"""seccomp filters of containers: compiled once a profile, brought into force, their listener handed over.

A compiled program is kept below the state root, under the hash of the profile and the library's version: to compile
Docker's default takes longer than all else that creating a container does. What is kept is one program a file, by
rename; the oldest go when there are many. seccomp(2), runtime-spec config-linux.md "The Container Process State".
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping

from lxcfs_py import linux
from lxcfs_py.record import TYPE_CHECKING
from pyrun import jsontext, seccomp
from pyrun.spec import Seccomp

if TYPE_CHECKING:
    from typing import Any

_INSTRUCTION = 8
_MOST = 64
_FORM = 2
"""Of what is made of a profile: 2 has an answer to calls that are newer than it."""
_FD = "seccompFd"


def program(profile: Seccomp, cache: str) -> bytes:
    """The BPF program of a profile, from the directory `cache` or compiled and kept there. Error."""
    from _blake2 import blake2b

    from pyrun.libseccomp import Library

    library = Library()
    text = f"{_FORM} {library.version()} {os.uname().machine} {os.uname().release} {profile!r}"
    path = os.path.join(cache, blake2b(text.encode(), digest_size=24).hexdigest())
    with contextlib.suppress(OSError), open(path, "rb") as file:
        kept = file.read()
        if kept and len(kept) % _INSTRUCTION == 0:
            return kept
    made = library.compile(profile)
    _keep(path, made)
    return made


def _keep(path: str, made: bytes) -> None:
    """A full disk or a read-only one costs the next container time, nothing else."""
    fresh = f"{path}.{os.getpid()}"
    with contextlib.suppress(OSError):
        cache = os.path.dirname(path)
        os.makedirs(cache, mode=0o700, exist_ok=True)
        _make_room(cache)
        try:
            with open(fresh, "wb") as file:
                file.write(made)
            os.rename(fresh, path)
        except OSError:
            os.unlink(fresh)


def _make_room(cache: str) -> None:
    paths = [os.path.join(cache, name) for name in os.listdir(cache)]
    if len(paths) >= _MOST:
        for path in sorted(paths, key=lambda path: os.stat(path).st_mtime)[: len(paths) // 2]:
            os.unlink(path)


def enforce(made: bytes, profile: Seccomp) -> int:
    """Filter the calling process's system calls from here on; a descriptor of the listener, -1 where there is none."""
    flags = seccomp.flags(profile)
    if not seccomp.notifies(profile):
        linux.seccomp_set_mode_filter(made, flags & ~linux.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
        return -1
    # All threads at once is nothing to ask for in a process of one, and not to be had together with a listener.
    flags &= ~linux.SECCOMP_FILTER_FLAG_TSYNC
    return linux.seccomp_set_mode_filter(made, flags | linux.SECCOMP_FILTER_FLAG_NEW_LISTENER)


def hand_over(listener: int, profile: Seccomp, state: Mapping[str, Any], pid: int) -> None:
    """Send a listener with the container process state to the agent that the profile names; `pid` is the process's that
    is filtered. OSError."""
    import _socket
    import array

    told = {
        "ociVersion": state["ociVersion"],
        "fds": [_FD],
        "pid": pid,
        "metadata": profile.listener_metadata,
        "state": state,
    }
    socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        socket.connect(profile.listener_path)
        rights = array.array("i", (listener,)).tobytes()
        text = jsontext.dumps(told).encode()
        sent = socket.sendmsg([text], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
        socket.sendall(text[sent:])
    except OSError as error:
        error.filename = profile.listener_path
        error.add_note("while sending the seccomp listener to linux.seccomp.listenerPath")
        raise
    finally:
        socket.close()
