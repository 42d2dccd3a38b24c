"""Command lines: every form of an option, and errors that name what was typed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.errors import UsageError
from pyrun import arguments
from pyrun.arguments import Command, Option, Parsed

OPTIONS = (
    Option(("-m", "--memory"), "SIZE", "a limit"),
    Option(("-t", "--tty"), "", "a switch"),
    Option(("-q", "--quiet"), "", "another"),
    Option(("--format",), "FORMAT", "a choice", ("a", "b")),
    Option(("-a", "--add"), "WHAT", "any number of times", repeats=True),
)


def parse(*argv: str, first_word_ends: bool = False) -> Parsed:
    return arguments.parse(OPTIONS, argv, first_word_ends=first_word_ends, who="x: ")


@pytest.mark.parametrize(
    "argv", [("-m", "1"), ("-m1",), ("-m=1",), ("--memory", "1"), ("--memory=1",), ("-m", "2", "-m", "1")]
)
def test_an_option_takes_its_value_in_every_form(argv: tuple[str, ...]) -> None:
    assert parse(*argv) == Parsed({"--memory": "1"}, ())


def test_an_option_that_may_be_repeated_keeps_each_value() -> None:
    found = parse("-a", "1", "-m", "2", "--add=", "-a1", "-m", "3")
    assert (found.all("--add"), found.get("--memory")) == (("1", "", "1"), "3")
    assert found.has("--add")
    assert parse().all("--add") == ()


@pytest.mark.parametrize("argv", [("-t", "-q"), ("-tq",), ("--tty", "--quiet")])
def test_switches_may_be_put_together(argv: tuple[str, ...]) -> None:
    assert parse(*argv) == Parsed({"--tty": "", "--quiet": ""}, ())


def test_a_cluster_may_end_in_an_option_with_a_value() -> None:
    assert parse("-tm", "1") == parse("-tm1") == Parsed({"--tty": "", "--memory": "1"}, ())


@pytest.mark.parametrize(
    ("argv", "ends", "parsed"),
    [
        (("a", "-t", "b"), False, Parsed({"--tty": ""}, ("a", "b"))),
        (("a", "-t", "b"), True, Parsed({}, ("a", "-t", "b"))),
        (("-t", "--", "-q", "--"), False, Parsed({"--tty": ""}, ("-q", "--"))),
        (("-t", "--", "sh", "-c"), True, Parsed({"--tty": ""}, ("sh", "-c"))),
        (("-", ""), False, Parsed({}, ("-", ""))),
        (("-m", "--"), False, Parsed({"--memory": "--"}, ())),
        (("--memory=",), False, Parsed({"--memory": ""}, ())),
    ],
)
def test_words_end_options_where_a_command_follows(argv: tuple[str, ...], ends: bool, parsed: Parsed) -> None:
    assert parse(*argv, first_word_ends=ends) == parsed


@pytest.mark.parametrize(
    ("argv", "message", "hint"),
    [
        (("--mem", "1"), 'x: unknown option "--mem"', "did you mean --memory?"),
        (("-z",), 'x: unknown option "-z"', None),
        (("-tz",), 'x: unknown option "-z"', None),
        (("-m",), "x: -m: SIZE is missing", None),
        (("--memory",), "x: --memory: SIZE is missing", None),
        (("--tty=1",), 'x: --tty takes no value, not "1"', None),
        (("--format", "c"), 'x: --format: "c" is none of a, b', None),
    ],
)
def test_an_error_names_what_was_typed(argv: tuple[str, ...], message: str, hint: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        parse(*argv)
    assert caught.value.message == message
    if hint:
        assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("words", "message"), [([], "c: ID [SIGNAL] is missing"), (["a", "b", "c"], 'c: "c" is too much'), (["a"], None)]
)
def test_words_are_counted(words: list[str], message: str | None) -> None:
    command = Command("c", "ID [SIGNAL]", "", least=1, most=2)
    if message is None:
        arguments.check_count(command, words)
        return
    with pytest.raises(UsageError) as caught:
        arguments.check_count(command, words)
    assert caught.value.message == message


def test_help_has_a_line_for_each_option() -> None:
    assert arguments.describe(OPTIONS).splitlines()[:2] == [
        "  -m, --memory SIZE  a limit",
        "  -t, --tty          a switch",
    ]


@given(st.lists(st.text() | st.sampled_from(["-m", "--memory", "-t", "-tq", "--", "--format=a"])), st.booleans())
def test_any_command_line_is_parsed_or_refused(argv: list[str], ends: bool) -> None:
    try:
        parsed = parse(*argv, first_word_ends=ends)
    except UsageError:
        return
    assert set(parsed.values) <= {option.key for option in OPTIONS}
    assert set(parsed.words) <= set(argv)
