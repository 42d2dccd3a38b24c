"""Fields of JSON objects read with their type, their range and the path that an error names them by.

`mounts[2].options: must be an array of strings, not a number`. `null` is "left out". Knows JSON, nothing of OCI:
`config.py` says which fields there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lxcfs_py.errors import SpecError, Unsupported
from lxcfs_py.record import TYPE_CHECKING
from pyrun import jsontext

if TYPE_CHECKING:
    from typing import TypeVar

    _Made = TypeVar("_Made")


_KINDS = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}


class Fields:
    """A JSON object and its path; each method reads one field, None or empty where it is left out."""

    def __init__(self, value: object, where: str = "") -> None:
        self.where = where
        if not isinstance(value, dict):
            raise SpecError(where or "config.json", f"must be an object, not {_kind(value)}")
        self.values = value

    def at(self, name: str) -> str:
        """The path of a field."""
        return f"{self.where}.{name}" if self.where else name

    def has(self, name: str) -> bool:
        return self.values.get(name) is not None

    def require(self, name: str) -> object:
        """A field's value; SpecError where it is left out."""
        value = self.values.get(name)
        if value is None:
            raise SpecError(self.at(name), "is missing")
        return value

    def refuse(self, *names: str) -> None:
        """Fields that cannot be honoured may be there only if they ask for nothing."""
        for name in names:
            if self.values.get(name) not in (None, "", [], {}):
                raise unsupported(self.at(name))

    def text(self, name: str) -> str | None:
        value = self.values.get(name)
        return None if value is None else _text(value, self.at(name))

    def word(self, name: str) -> str:
        """A required string that is not empty."""
        text = _text(self.require(name), self.at(name))
        if not text:
            raise SpecError(self.at(name), "must not be empty")
        return text

    def path(self, name: str) -> str:
        """A required absolute path."""
        text = self.word(name)
        if not text.startswith("/"):
            raise SpecError(self.at(name), f'must be an absolute path, not "{text}"')
        return text

    def choice(self, name: str, choices: Iterable[str]) -> str:
        """A required string, one of `choices`."""
        text = self.word(name)
        if text not in choices:
            raise SpecError(self.at(name), f'"{text}" is none of {", ".join(choices)}')
        return text

    def flag(self, name: str) -> bool:
        value = self.values.get(name)
        if value is not None and not isinstance(value, bool):
            raise SpecError(self.at(name), f"must be true or false, not {_kind(value)}")
        return bool(value)

    def number(self, name: str, low: int, high: int) -> int | None:
        """An integer from `low` to `high`."""
        value = self.values.get(name)
        return None if value is None else _number(value, self.at(name), low, high)

    def need(self, name: str, low: int, high: int) -> int:
        """A required integer."""
        return _number(self.require(name), self.at(name), low, high)

    def child(self, name: str) -> Fields:
        """An object, an empty one where it is left out."""
        return Fields(self.values[name] if self.has(name) else {}, self.at(name))

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(_text(value, where) for value, where in self._items(name, "strings"))

    def paths(self, name: str) -> tuple[str, ...]:
        """An array of absolute paths."""
        for index, text in enumerate(found := self.texts(name)):
            if not text.startswith("/"):
                raise SpecError(f"{self.at(name)}[{index}]", f'must be an absolute path, not "{text}"')
        return found

    def numbers(self, name: str, low: int, high: int) -> tuple[int, ...]:
        return tuple(_number(value, where, low, high) for value, where in self._items(name, "integers"))

    def each(self, name: str, make: Callable[[Fields], _Made]) -> tuple[_Made, ...]:
        """An array of objects, each made into a record."""
        return tuple(make(Fields(value, where)) for value, where in self._items(name, "objects"))

    def pairs(self, name: str) -> dict[str, str]:
        """An object whose values are strings."""
        value = self.values.get(name)
        if value is None:
            return {}
        where = self.at(name)
        if not isinstance(value, dict):
            raise SpecError(where, f"must be an object of strings, not {_kind(value)}")
        return {_text(key, where): _text(item, f'{where}["{key}"]') for key, item in value.items()}

    def keyed(self, name: str) -> list[tuple[str, Fields]]:
        """An object of objects."""
        child = self.child(name)
        return [(key, Fields(value, f'{child.where}["{key}"]')) for key, value in child.values.items()]

    def _items(self, name: str, of: str) -> list[tuple[object, str]]:
        value = self.values.get(name)
        if value is None:
            return []
        where = self.at(name)
        if not isinstance(value, list):
            raise SpecError(where, f"must be an array of {of}, not {_kind(value)}")
        return [(item, f"{where}[{index}]") for index, item in enumerate(value)]


def parse(text: bytes, name: str = "config.json") -> Fields:
    """The object that a JSON text is; SpecError with line and column where it is not JSON."""
    try:
        return Fields(jsontext.loads(text.decode()))
    except RecursionError:
        raise SpecError(name, "is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise SpecError(name, f"is not JSON in UTF-8: {error}") from None
    except ValueError as error:
        raise SpecError(name, _fault(error)) from None


def _fault(error: ValueError) -> str:
    """Where it is and what; a number of more digits than Python reads is nowhere."""
    from json import JSONDecodeError

    if isinstance(error, JSONDecodeError):
        return f"line {error.lineno} column {error.colno}: {error.msg.lower()}"
    return f"is not JSON in UTF-8: {error}"


def unsupported(where: str, what: str = "") -> Unsupported:
    """What is refused by name, so that nobody believes it in force."""
    return Unsupported(
        f"{where}: {what or 'this'} is not supported by this release of pyrun",
        "take it out of config.json, or use a runtime that has it",
    )


def _kind(value: object) -> str:
    return _KINDS.get(type(value), type(value).__name__)


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise SpecError(where, f"must be a string, not {_kind(value)}")
    if "\0" in value:
        raise SpecError(where, "must not have a NUL character in it")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise SpecError(where, "has half a surrogate pair in it, which is no character") from None
    return value


def _number(value: object, where: str, low: int, high: int) -> int:
    if isinstance(value, float):
        raise SpecError(where, f"must be an integer, not {value}")
    if not isinstance(value, int) or isinstance(value, bool):
        raise SpecError(where, f"must be an integer, not {_kind(value)}")
    if not low <= value <= high:
        raise SpecError(where, f"must be from {low} to {high}, not {value}")
    return value
