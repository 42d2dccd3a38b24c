"""JSON by the interpreter's own scanner: `json` would import `re` and `enum` first, for each call that reads a state.

What is wrong with a text is left to `json` to say. Values are those of `json`: None, bool, int, float, str, list, dict.
"""

from __future__ import annotations

from lxcfs_py.record import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

_BLANKS = " \t\n\r"


class _Options:
    """What the scanner asks for: what `json.loads` gives it."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = {"-Infinity": float("-inf"), "Infinity": float("inf"), "NaN": float("nan")}.__getitem__


def loads(text: str) -> Any:
    """As `json.loads`; its JSONDecodeError, a ValueError, for what is no JSON, RecursionError for what is too deep."""
    try:
        from _json import make_scanner
    except ImportError:
        return _by_json(text)
    begin = len(text) - len(text.lstrip(_BLANKS))
    try:
        value, end = make_scanner(_Options)(text, begin)  # type: ignore[arg-type]  # any object with these
    except (StopIteration, SystemError):  # the scanner has no words for a fault without `json`
        return _by_json(text)
    return _by_json(text) if text[end:].strip(_BLANKS) else value


def _by_json(text: str) -> Any:
    import json

    return json.loads(text)


def dumps(value: object) -> str:
    """As `json.dumps` of what is made of None, bool, int, str, list, tuple and dicts with str for keys."""
    if isinstance(value, str):
        return _quoted(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(dumps, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_quoted(name)}: {dumps(each)}' for name, each in value.items())}}}"
    raise TypeError(f"no JSON for a {type(value).__name__}")


def pretty(value: object, margin: str = "\n") -> str:
    """As `json.dumps` with an indent of 2."""
    inner = f"{margin}  "
    if isinstance(value, dict) and value:
        rows = (f"{inner}{_quoted(name)}: {pretty(each, inner)}" for name, each in value.items())
        return f"{{{','.join(rows)}{margin}}}"
    if isinstance(value, list | tuple) and value:
        return f"[{','.join(inner + pretty(each, inner) for each in value)}{margin}]"
    return dumps(value)


def _quoted(text: str) -> str:
    from _json import encode_basestring_ascii

    quoted: str = encode_basestring_ascii(text)
    return quoted
