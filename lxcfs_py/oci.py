"""An OCI hook: what a container's annotations choose is noted in the run directory before the container starts.

For the kinds createRuntime and prestart, which run in the runtime's namespaces when the container's first process is
there and in its cgroup. The note is of that cgroup and no other that may have its path later. A container whose init
goes further down afterwards, as systemd does, is found by the cgroups above it; one that is moved elsewhere is not.
A daemon finds the note when it next looks at the container, and notes of cgroups that are gone are swept away here and
by the sampler. Follows opencontainers/runtime-spec runtime.md "State" and config.md "POSIX-platform Hooks".
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from lxcfs_py import caller, policy, records, sampler
from lxcfs_py.cgroup import hierarchy
from lxcfs_py.errors import Error, describe
from lxcfs_py.host import Host
from lxcfs_py.policy import Choices
from lxcfs_py.rundir.records import Records

_HINT = "the hook is for createRuntime, and gets the container's state on standard input"


def note(host: Host, run_dir: str, text: bytes) -> str:
    """Note what the container in an OCI state chooses; why that will not be in force, "" where it will.

    Error for what is no state and for an annotation of ours that is wrong; nothing else may fail a container's start.
    """
    state = _object(text, "the container's state", _HINT)
    pid = state.get("pid")
    if not isinstance(pid, int) or isinstance(pid, bool) or pid < 1:
        raise Error("the container's state has no pid", _HINT)
    choices = policy.annotated(_annotations(state))
    if not choices:
        return ""
    try:
        return _note(host, run_dir, pid, choices)
    except (Error, OSError) as error:
        return describe(error)[0]


def _note(host: Host, run_dir: str, pid: int, choices: Choices) -> str:
    if not os.path.isdir(f"{run_dir}/records"):
        return f"{run_dir}: no lxcfs-py has served here"
    cgroup = caller.cgroup_of(hierarchy.find(host), host.read(f"proc/{pid}/cgroup"))
    place = cgroup.place()
    if place is None:
        return f"process {pid} is in no cgroup of its own"
    kept = Records(run_dir)
    kept.update(records.POLICY, cgroup.identity(host), lambda _: (records.pack_policy(place[0], choices), None))
    _have_looked_up(run_dir, cgroup.key)
    sampler.sweep(host, kept)
    return ""


def _have_looked_up(run_dir: str, key: str) -> None:
    """Nobody is shown any more what the kernel keeps from before: a runtime binds files first and calls hooks then."""
    with suppress(OSError):
        os.stat(f"{run_dir}/containers/{key}")


def _annotations(state: Mapping[str, Any]) -> Mapping[str, object]:
    """Those in the state; of the bundle's config.json where an engine leaves them out."""
    found = state.get("annotations")
    bundle = state.get("bundle")
    if found is None and isinstance(bundle, str):
        path = os.path.join(bundle, "config.json")
        try:
            with open(path, "rb") as file:
                found = _object(file.read(), path, _HINT).get("annotations")
        except FileNotFoundError:
            return {}
    return found if isinstance(found, dict) else {}


def _object(text: bytes, what: str, hint: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Error(f"{what} is no JSON object", hint)
    return found
