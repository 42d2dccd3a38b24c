"""The options of `pyrun exec` as a process of config.json, which `config` then reads and checks.

The rules are runc's: `--process FILE` is the whole process, anything else changes the container's own. What a FILE
leaves out of limits, capabilities and scheduling is the container's, so that a process more is no less confined.
"""

from __future__ import annotations

from collections.abc import Mapping

from lxcfs_py.errors import UsageError
from lxcfs_py.record import TYPE_CHECKING
from pyrun.arguments import Parsed

if TYPE_CHECKING:
    from typing import Any

_CONTAINERS = (
    "apparmorProfile",
    "capabilities",
    "execCPUAffinity",
    "ioPriority",
    "oomScoreAdj",
    "rlimits",
    "scheduler",
    "selinuxLabel",
)
"""Fields of a process that are the container's where a FILE has none."""
_ID = 2**32 - 2


def of_file(given: Mapping[str, Any], containers: Mapping[str, Any]) -> dict[str, Any]:
    """The process of `--process`."""
    inherited = {name: containers[name] for name in _CONTAINERS if name in containers and given.get(name) is None}
    return {**inherited, **given}


def of_options(options: Parsed, containers: Mapping[str, Any]) -> dict[str, Any]:
    """The container's process with another command, and with what the options say. UsageError."""
    made = {name: value for name, value in containers.items() if name != "consoleSize"}
    made["args"] = list(options.words[1:])
    made["terminal"] = options.has("--tty")
    made["env"] = [*(containers.get("env") or ()), *map(_variable, options.all("--env"))]
    made["user"] = _user(options, containers.get("user") or {})
    for name, field in (("--cwd", "cwd"), ("--apparmor", "apparmorProfile"), ("--process-label", "selinuxLabel")):
        if options.has(name):
            made[field] = options.get(name)
    if options.has("--no-new-privs"):
        made["noNewPrivileges"] = True
    if options.has("--cap"):
        made["capabilities"] = _capabilities(options.all("--cap"), containers.get("capabilities") or {})
    return made


def _variable(text: str) -> str:
    if text.find("=") < 1:
        raise UsageError(f'exec: --env: "{text}" is not NAME=VALUE', "--env LANG=C")
    return text


def _user(options: Parsed, containers: Mapping[str, Any]) -> dict[str, Any]:
    user = dict(containers)
    if options.has("--user"):
        uid, colon, gid = options.get("--user").partition(":")
        user["uid"] = _id(uid, "--user")
        if colon:
            user["gid"] = _id(gid, "--user")
    more = [_id(text, "--additional-gids") for text in options.all("--additional-gids")]
    return user | {"additionalGids": [*(containers.get("additionalGids") or ()), *more]}


def _id(text: str, option: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 11 and int(text) <= _ID):
        raise UsageError(f'exec: {option}: "{text}" is not the number of a user or group', "as 1000 or 1000:1000")
    return int(text)


def _capabilities(more: tuple[str, ...], containers: Mapping[str, Any]) -> dict[str, Any]:
    """runc's rule: ambient ones only where the container has inheritable ones, without which they cannot be."""
    sets = ("bounding", "effective", "permitted", *(("ambient",) if containers.get("inheritable") else ()))
    return {**containers, **{name: [*(containers.get(name) or ()), *more] for name in sets}}
