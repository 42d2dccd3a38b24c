"""Who is shown what: config.toml, flags and OCI annotations -> the Policy of a container.

    [default]                       of every container; all keys are optional
    cpus = "quota"                  "quota", "cpuset" or "host"
    swap = true
    zswap = true
    loadavg = true
    uptime = "container"            "container" or "host"

    [[container]]                   of those whose cgroup the pattern matches; as many tables as you like
    cgroup = "/lxc.payload.*"
    swap = false

Each choice is by itself taken from the first that makes it: the container's annotation `org.lxcfs.KEY`; the last
matching [[container]]; a flag of `lxcfs-py serve`; [default]; what is built in. What the choices mean is told at
`cgroup.model.Policy`. A pattern is fnmatch(3)'s, with `*` for blanks and slashes too, of the whole path that
`lxcfs-py` calls a container by: it begins with `/` and has no `/init.scope` at its end.

Pure: text in, values out. Who reads the file is `reload`, and who keeps annotations `oci`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from lxcfs_py.cgroup.model import Policy
from lxcfs_py.errors import Error, ParseError

Choice = str | bool
Choices = Mapping[str, Choice]
"""Values by key of CHOICES; a key that is not there is left to somebody else."""

CHOICES: Mapping[str, tuple[Choice, ...]] = {
    "cpus": ("quota", "cpuset", "host"),
    "swap": (True, False),
    "zswap": (True, False),
    "loadavg": (True, False),
    "uptime": ("container", "host"),
}
"""The fields of Policy, and what each can be; the first is built in."""

ANNOTATION = "org.lxcfs."
"""What an annotation begins with; a key of CHOICES follows."""

FILE = "/etc/lxcfs-py/config.toml"
"""Where the configuration is that nobody names."""

_PATTERN = "cgroup"
_MOST_LINES = 100
"""Of one statement, when the line of a fault is looked for."""
_AT = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_KINDS = {int: "an integer", float: "a float", list: "an array", dict: "a table"}


class Rule(NamedTuple):
    """A [[container]] table."""

    pattern: str
    choices: Choices


class Policies(NamedTuple):
    """What is chosen for all containers of a machine."""

    default: Choices
    rules: tuple[Rule, ...]
    flags: Choices

    def of(self, path: str, annotated: Choices) -> Policy:
        """The policy of the container with a cgroup path and with choices from its annotations."""
        chosen: dict[str, Any] = {**self.default, **self.flags}
        for pattern, choices in self.rules:
            if fnmatchcase(path, pattern):
                chosen |= choices
        return Policy(**{**chosen, **annotated})

    def chosen_by(self, path: str, annotated: Choices) -> dict[str, str]:
        """Who made each choice that is in force for that container, by key; without those that are built in."""
        found = dict.fromkeys(self.default, "[default]") | dict.fromkeys(self.flags, "flag")
        for pattern, choices in self.rules:
            if fnmatchcase(path, pattern):
                found |= dict.fromkeys(choices, f'[[container]] "{pattern}"')
        return found | dict.fromkeys(annotated, "annotation")


BUILT_IN = Policies({}, (), {})


class Source(NamedTuple):
    """Where policies come from."""

    path: str
    """The configuration file's."""
    required: bool
    """Whether it is an error that there is none."""


NOTHING = Source("/dev/null", required=True)


class _Fault(Exception):
    """`where` is the way from the document's top to what is wrong, or to the table that lacks something."""

    def __init__(self, where: tuple[str | int, ...], why: str) -> None:
        super().__init__(why)
        self.where = where


def parse(path: str, text: bytes) -> Policies:
    """The text of a configuration, without flags; ParseError names `path` and the line of the first fault."""
    import tomllib

    document = _decoded(path, text)
    try:
        return _policies(tomllib.loads(document))
    except _Fault as fault:
        raise ParseError(path, _line(document, fault.where), str(fault)) from None
    except RecursionError:
        raise ParseError(path, None, "not TOML: nested too deeply") from None
    except tomllib.TOMLDecodeError as error:
        found = _AT.search(str(error))
        line = int(found[1] or document.count("\n") + 1) if found else None
        why = _AT.sub("", str(error))
        raise ParseError(path, line, f"not TOML: {why[:1].lower()}{_one_line(why[1:])}") from None
    except ValueError:  # Python's own limit for int()
        raise ParseError(path, None, "not TOML: a number of too many digits") from None


def annotated(annotations: Mapping[str, object]) -> Choices:
    """The choices that OCI annotations make; Error for one that begins as ours and is none."""
    chosen: dict[str, Choice] = {}
    for name, text in annotations.items():
        if not name.startswith(ANNOTATION):
            continue
        key = name.removeprefix(ANNOTATION)
        if key not in CHOICES:
            known = ", ".join(f"{ANNOTATION}{key}" for key in CHOICES)
            raise Error(f"annotation {_one_line(name)}: there is no such one", f"there are {known}")
        values = {_spelled(value): value for value in CHOICES[key]}
        if not isinstance(text, str) or text not in values:
            raise Error(f"annotation {name}: must be {_either(list(values))}, not {_shown(text)}")
        chosen[key] = values[text]
    return chosen


def sane(choices: object) -> Choices:
    """Of what somebody has written down that which is a choice still."""
    found = choices.items() if isinstance(choices, dict) else ()
    return {key: value for key, value in found if _is_choice(key, value)}


def _policies(data: Mapping[str, Any]) -> Policies:
    for name in data:
        if name not in ("default", "container"):
            raise _Fault((name,), f"{_shown(name)} is neither [default] nor [[container]]")
    default, tables = data.get("default", {}), data.get("container", [])
    if not isinstance(default, dict):
        raise _Fault(("default",), "default must be a table: [default]")
    if not isinstance(tables, list):
        raise _Fault(("container",), "container must be tables in two brackets each: [[container]]")
    return Policies(
        dict(_choices(default, ("default",), ())),
        tuple(_rule(table, ("container", index)) for index, table in enumerate(tables)),
        {},
    )


def _rule(table: Any, where: tuple[str | int, ...]) -> Rule:
    if not isinstance(table, dict):
        raise _Fault(where, f"container must be tables, not {_shown(table)}: [[container]]")
    if _PATTERN not in table:
        raise _Fault(where, f'[[container]] without {_PATTERN}: say whom it is for, as {_PATTERN} = "/lxc.payload.*"')
    pattern = table[_PATTERN]
    if not isinstance(pattern, str):
        raise _Fault((*where, _PATTERN), f'{_PATTERN} must be a pattern as "/lxc.payload.*", not {_shown(pattern)}')
    if not pattern.startswith(("/", "*", "?", "[")):
        raise _Fault((*where, _PATTERN), f"{_PATTERN} matches nothing: each path begins with /, not {_shown(pattern)}")
    return Rule(pattern, dict(_choices(table, where, (_PATTERN,))))


def _choices(
    table: Mapping[str, Any], where: tuple[str | int, ...], others: tuple[str, ...]
) -> Iterator[tuple[str, Choice]]:
    for key, value in table.items():
        if key in others:
            continue
        if key not in CHOICES:
            raise _Fault((*where, key), f"{_shown(key)} is none of {', '.join((*others, *CHOICES))}")
        if not _is_choice(key, value):
            raise _Fault((*where, key), f"{key} must be {_either(_toml(CHOICES[key]))}, not {_shown(value)}")
        yield key, value


def _is_choice(key: object, value: object) -> bool:
    return isinstance(key, str) and any(type(value) is type(each) and value == each for each in CHOICES.get(key, ()))


def _decoded(path: str, text: bytes) -> str:
    try:
        return text.decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ParseError(path, text.count(b"\n", 0, error.start) + 1, "not UTF-8") from None


def _line(document: str, where: tuple[str | int, ...]) -> int:
    """In which line the statement begins that says what is at `where`.

    Whatever way it is spelled: of the beginnings of the document that are TOML by themselves, the first that has it
    ends with that statement, and the last that lacks it ends before it.
    """
    lines = document.split("\n")
    lacking, low, high = 0, 0, len(lines)
    while high - low > 1:
        middle = at = (low + high) // 2
        while (data := _tried(lines[:at])) is None and at > max(low, middle - _MOST_LINES):
            at -= 1
        if data is not None and _has(data, where):
            high = at
        else:
            lacking, low = (at if data is not None else lacking), middle
    return lacking + 1


def _tried(lines: list[str]) -> Mapping[str, Any] | None:
    import tomllib

    try:
        return tomllib.loads("\n".join(lines))
    except (ValueError, RecursionError):
        return None


def _has(data: Any, where: tuple[str | int, ...]) -> bool:
    for key in where:
        try:
            data = data[key]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def _toml(choices: tuple[Choice, ...]) -> list[str]:
    return [_shown(choice) if isinstance(choice, str) else _spelled(choice) for choice in choices]


def _spelled(choice: Choice) -> str:
    return choice if isinstance(choice, str) else str(choice).lower()


def _either(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _shown(value: object) -> str:
    """A value, or of what kind it is, in one short line."""
    if isinstance(value, str):
        return json.dumps(value if len(value) <= 80 else f"{value[:80]}...")
    return str(value).lower() if isinstance(value, bool) else _KINDS.get(type(value), "a date or time")


def _one_line(text: str) -> str:
    return json.dumps(text)[1:-1].replace('\\"', '"').replace("\\\\", "\\")
