"""YAML as a tree of texts, and readers that take it apart: what is wrong is told by its line and its name.

No scalar is given a type by how it looks, so that a user called `no` or `007` stays one; a name that stands twice is a
fault; an alias counts as all that it stands for, so that no small file is a large tree. What the names mean is the
caller's matter. Follows YAML 1.1, as PyYAML's composer does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

_MOST_NODES = 10_000
_MOST_DEPTH = 8
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class Node(NamedTuple):
    """A piece of YAML, every scalar a text; where it stands."""

    line: int
    value: str | list[Node] | dict[str, Node]


class Fault(Exception):
    """What is wrong, at a line that counts from 1."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line = line


def tree(text: bytes) -> Node:
    """The whole text; Fault where it is not YAML. PyYAML is imported here, where there is a file."""
    import yaml

    try:
        root = yaml.compose(text.decode(), Loader=yaml.BaseLoader)
    except UnicodeDecodeError as error:
        raise Fault(text.count(b"\n", 0, error.start) + 1, "not UTF-8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "wrong"
        raise Fault(mark.line + 1 if mark else 1, f"not YAML: {problem}") from error
    except RecursionError as error:
        raise Fault(1, "not YAML: nested too deeply") from error
    return _node(root, _MOST_DEPTH, [_MOST_NODES]) if root is not None else Node(1, "")


def _node(made: Any, depth: int, left: list[int]) -> Node:
    """`left`: how many more there may be, since an alias stands for all that it names."""
    line = made.start_mark.line + 1
    left[0] -= 1
    if depth < 0 or left[0] < 0:
        raise Fault(line, "nested too deeply, or too much of it")
    if made.id == "scalar":
        return Node(line, str(made.value))
    if made.id == "sequence":
        return Node(line, [_node(each, depth - 1, left) for each in made.value])
    entries: dict[str, Node] = {}
    for key, value in made.value:
        name = text(_node(key, depth - 1, left), "a name")
        if name in entries:
            raise Fault(key.start_mark.line + 1, f'"{name}" for the second time')
        entries[name] = _node(value, depth - 1, left)
    return Node(line, entries)


Reader = Callable[[Node, str], Any]


def read(node: Node, where: str, readers: Mapping[str, Reader]) -> dict[str, Any]:
    """A mapping whose names are all known."""
    found: dict[str, Any] = {}
    for name, value in entries(node, where or "the file").items():
        inside = f"{where}.{name}" if where else name
        if name not in readers:
            raise Fault(value.line, f"{inside}: no such name; there are {', '.join(readers)}")
        found[name] = readers[name](value, inside)
    return found


def entries(node: Node, where: str) -> dict[str, Node]:
    """A mapping's; none where nothing stands."""
    if node.value == "":
        return {}
    if not isinstance(node.value, dict):
        raise Fault(node.line, f"{where}: not a mapping")
    return node.value


def text(node: Node, where: str) -> str:
    """A scalar, as it is written."""
    if not isinstance(node.value, str):
        raise Fault(node.line, f"{where}: not a text")
    return node.value


def flag(node: Node, where: str) -> bool:
    """True or false."""
    known = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
    word = text(node, where).lower()
    if word not in known:
        raise Fault(node.line, f'{where}: "{word}" is neither true nor false')
    return known[word]


def count(node: Node, where: str) -> int:
    """A number of at least 0."""
    word = text(node, where)
    if not re.fullmatch(r"[0-9]{1,9}", word):
        raise Fault(node.line, f'{where}: "{word}" is not a number')
    return int(word)


def duration(node: Node, where: str) -> float:
    """Seconds of a duration in Go's form, as 1m30s."""
    word = text(node, where)
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h)", word)
    if word != "0" and (not parts or "".join(number + unit for number, unit in parts) != word):
        raise Fault(node.line, f'{where}: "{word}" is not a duration as 1s or 500ms')
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def texts(node: Node, where: str) -> tuple[str, ...]:
    """A list of scalars; none where nothing stands."""
    if node.value == "":
        return ()
    if not isinstance(node.value, list):
        raise Fault(node.line, f"{where}: not a list")
    return tuple(text(each, f"{where}[{place}]") for place, each in enumerate(node.value))


def one_of(names: Collection[str]) -> Reader:
    """A reader of one of these names."""
    return lambda node, where: known(node, where, text(node, where), names)


def some_of(names: Collection[str]) -> Reader:
    """A reader of a list of these names."""
    return lambda node, where: tuple(known(node, where, word, names) for word in texts(node, where))


def known(node: Node, where: str, word: str, names: Collection[str]) -> str:
    """The word, which must be one of the names."""
    if word not in names:
        raise Fault(node.line, f'{where}: "{word}" is none of {", ".join(filter(None, names))}')
    return word
