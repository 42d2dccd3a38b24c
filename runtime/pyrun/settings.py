"""/etc/lxcfs-py/pyrun.toml: what is set for all containers of this machine, whoever calls pyrun.

For engines that pass a runtime no options, as containerd. A key is the name of one of pyrun's general options without
its dashes; an option on the command line goes before it, and so does the annotation `org.lxcfs` of a container.

    lxcfs = true
    lxcfs-mount = "/var/lib/lxcfs-py"

Of TOML it takes what it needs, lines of `key = true`, `key = "text"` and comments, and refuses the rest by line: the
standard library's parser would cost more than all else that `create` does (a test holds the two against each other).
"""

from __future__ import annotations

from collections.abc import Collection

from lxcfs_py.errors import ParseError
from pyrun.arguments import Parsed

FILE = "/etc/lxcfs-py/pyrun.toml"

SWITCHES = ("lxcfs",)
TEXTS = ("lxcfs-mount", "lxcfs-run-dir")

Values = dict[str, str | bool]


def parse(path: str, text: bytes) -> Values:
    """The settings by key. ParseError names the file and the line."""
    try:
        lines = text.decode().replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError:
        raise ParseError(path, None, "is not UTF-8") from None
    found: Values = {}
    for number, line in enumerate(lines, 1):
        if any((ord(letter) < 32 and letter != "\t") or letter == "\x7f" for letter in line):
            raise ParseError(path, number, "has a control character in it")
        line = line.strip(" \t")
        if not line or line.startswith("#"):
            continue
        key, equals, rest = line.partition("=")
        key = key.strip(" \t")
        if not equals:
            raise ParseError(path, number, f'must be as `lxcfs = true`, not "{line[:60]}"')
        if key in found:
            raise ParseError(path, number, f"{key} is there twice")
        found[key] = _value(path, number, key, rest.strip(" \t"))
    return found


def _value(path: str, line: int, key: str, text: str) -> str | bool:
    if key in SWITCHES:
        word = text.partition("#")[0].strip(" \t")
        if word not in ("true", "false"):
            raise ParseError(path, line, f"{key} must be true or false, not {text[:60] or 'nothing'}")
        return word == "true"
    if key in TEXTS:
        return _quoted(path, line, key, text)
    raise ParseError(path, line, f'"{key[:60]}" is none of {_listed((*SWITCHES, *TEXTS))}')


def _quoted(path: str, line: int, key: str, text: str) -> str:
    quote = text[:1]
    inner, closing, rest = text[1:].partition(quote) if quote in ("'", '"') else ("", "", "")
    rest = rest.strip(" \t")
    if not closing or not inner or (rest and not rest.startswith("#")):
        raise ParseError(path, line, f'{key} must be a text in quotes, as "/var/lib/lxcfs-py", not {text[:60]}')
    if quote == '"' and "\\" in inner:
        raise ParseError(path, line, f"{key}: a text with a backslash must be in single quotes")
    return inner


def _listed(keys: Collection[str]) -> str:
    return ", ".join(keys)


def under(options: Parsed, values: Values) -> Parsed:
    """The options of a command line with settings where it says nothing."""
    set_here = {f"--{key}": "" if value is True else str(value) for key, value in values.items() if value is not False}
    return options._replace(values=set_here | dict(options.values))
