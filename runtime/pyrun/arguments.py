"""Command lines by table: options and what they take -> values, help and completions.

Not argparse, whose import alone is a third of what `pyrun state` may cost. Knows the form of a command line
(`--name VALUE`, `--name=VALUE`, `-m256m`, `--` ends options) and nothing of what the words mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lxcfs_py.errors import UsageError
from lxcfs_py.record import NamedTuple


class Option(NamedTuple):
    names: tuple[str, ...]
    """With their dashes; the last one is what the value is found under."""
    takes: str
    """What the help calls the value, as SIZE; "" for a switch."""
    help: str
    choices: tuple[str, ...] = ()
    repeats: bool = False
    """Each occurrence counts, not the last alone."""

    @property
    def key(self) -> str:
        return self.names[-1]


class Command(NamedTuple):
    name: str
    usage: str
    """What follows the options, as `ID [SIGNAL]`."""
    summary: str
    options: tuple[Option, ...] = ()
    least: int = 0
    most: int | None = 0
    """How many words there may be beside options; None is any number, and then the first of them ends the options."""
    details: str = ""


class Parsed(NamedTuple):
    values: Mapping[str, str]
    """By the option's last name; "" for a switch that is there."""
    words: tuple[str, ...]
    repeated: tuple[tuple[str, str], ...] = ()
    """(last name, value) of each occurrence of options that may be repeated, in their order."""

    def has(self, name: str) -> bool:
        return name in self.values

    def get(self, name: str, default: str = "") -> str:
        return self.values.get(name, default)

    def all(self, name: str) -> tuple[str, ...]:
        """The values of an option that may be repeated."""
        return tuple(value for found, value in self.repeated if found == name)


def parse(options: Sequence[Option], argv: Sequence[str], *, first_word_ends: bool, who: str = "") -> Parsed:
    """Split `argv`; UsageError, its message beginning with `who` (as "launch: "), for what no option has."""
    known = {name: option for option in options for name in option.names}
    values: dict[str, str] = {}
    words: list[str] = []
    repeated: list[tuple[str, str]] = []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word == "--":
            words += rest
            break
        if word in ("", "-") or not word.startswith("-"):
            words.append(word)
            if first_word_ends:
                words += rest
                break
            continue
        option, value, more = _split(word, known, who)
        if more:
            rest.insert(0, more)
        if option.takes and value is None:
            if not rest:
                raise UsageError(f"{who}{word}: {option.takes} is missing")
            value = rest.pop(0)
        if option.choices and value not in option.choices:
            raise UsageError(f'{who}{word}: "{value}" is none of {", ".join(option.choices)}')
        values[option.key] = value or ""
        if option.repeats:
            repeated.append((option.key, value or ""))
    return Parsed(values, tuple(words), tuple(repeated))


def _split(word: str, known: Mapping[str, Option], who: str) -> tuple[Option, str | None, str]:
    """An option, the value that its word holds, and the rest of a cluster of one-letter switches as a word."""
    name, equals, value = word.partition("=")
    short = word[:2]
    if word.startswith("--") or word == short:
        option = known.get(name)
        if option is None:
            raise UsageError(f'{who}unknown option "{name}"', _nearest(name, known))
        if equals and not option.takes:
            raise UsageError(f'{who}{name} takes no value, not "{value}"')
        return option, value if equals else None, ""
    option = known.get(short)
    if option is None:
        raise UsageError(f'{who}unknown option "{short}"', _nearest(word, known))
    if option.takes:
        return option, word[2:].removeprefix("="), ""
    return option, None, f"-{word[2:]}"


def _nearest(name: str, known: Mapping[str, Option]) -> str:
    import difflib

    found = difflib.get_close_matches(name, known, 1)
    return f"did you mean {found[0]}?" if found else "--help lists them"


def check_count(command: Command, words: Sequence[str]) -> None:
    """UsageError unless there are as many words as the command takes."""
    if len(words) < command.least:
        raise UsageError(f"{command.name}: {command.usage} is missing", f"pyrun {command.name} --help")
    if command.most is not None and len(words) > command.most:
        raise UsageError(f'{command.name}: "{words[command.most]}" is too much', f"pyrun {command.name} --help")


def describe(options: Sequence[Option]) -> str:
    """A block of help, one line an option."""
    heads = [f"  {', '.join(option.names)}{' ' + option.takes if option.takes else ''}" for option in options]
    width = max(map(len, heads), default=0) + 2
    return "".join(f"{head:{width}}{option.help}\n" for head, option in zip(heads, options, strict=True))
