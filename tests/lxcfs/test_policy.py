"""Policies: config.toml as text, flags and annotations -> what each container is shown."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lxcfs_py import policy
from lxcfs_py.cgroup.model import Policy
from lxcfs_py.errors import Error, ParseError
from lxcfs_py.policy import Choices

EXAMPLE = Path(__file__).parents[2] / "deploy/config.toml"
LXC = '[[container]]\ncgroup = "/lxc/*"\n'

choices = st.fixed_dictionaries({}, optional={key: st.sampled_from(values) for key, values in policy.CHOICES.items()})


def toml(chosen: Choices) -> str:
    return "".join(
        f'{key} = "{value}"\n' if isinstance(value, str) else f"{key} = {value}\n".lower()
        for key, value in chosen.items()
    )


def of(text: str, path: str = "/lxc/a", flags: Choices | None = None, annotated: Choices | None = None) -> Policy:
    return policy.parse("f", text.encode())._replace(flags=flags or {}).of(path, annotated or {})


def test_the_choices_are_the_fields_of_policy_and_the_first_is_built_in() -> None:
    assert {key: values[0] for key, values in policy.CHOICES.items()} == asdict(Policy())
    assert list(policy.CHOICES) == [field.name for field in fields(Policy)]


def test_the_example_is_what_is_built_in() -> None:
    known = policy.parse("f", EXAMPLE.read_bytes())
    assert known.default == asdict(Policy())
    assert known.rules == ()


def test_the_example_with_its_own_examples_is_right() -> None:
    start = EXAMPLE.read_text().rindex('#\n# [[container]]\n# cgroup = "/lxc') + 2
    text = EXAMPLE.read_text()[:start] + EXAMPLE.read_text()[start:].replace("# ", "").replace("#\n", "\n")
    known = policy.parse("f", text.encode())
    assert [rule.pattern for rule in known.rules] == ["/lxc.payload.*", "/kubepods*"]
    assert known.of("/lxc.payload.c1", {}) == Policy(cpus="cpuset")
    assert known.of("/kubepods.slice/pod1/c1", {}) == Policy(swap=False, loadavg=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Policy()),
        ("\n# nothing\n", Policy()),
        ("[default]\n", Policy()),
        ('[default]\ncpus = "host"\nswap = false\n', Policy(cpus="host", swap=False)),
        ('default = { uptime = "host" }', Policy(uptime="host")),
        (LXC + "zswap = false", Policy(zswap=False)),
        ('[[container]]\ncgroup = "/lxc/b"\nswap = false', Policy()),
        ('[[container]]\ncgroup = "/lxc"\nswap = false', Policy()),
        ('[[container]]\ncgroup = "/LXC/*"\nswap = false', Policy()),
        ('[[container]]\ncgroup = "*/?"\nswap = false', Policy(swap=False)),
        ('[[container]]\ncgroup = "/lxc/[!b]"\nswap = false', Policy(swap=False)),
        ("[default]\nswap = false\n" + LXC + "loadavg = false", Policy(swap=False, loadavg=False)),
        ("[default]\nswap = false\n" + LXC + "swap = true", Policy()),
        (LXC + 'cpus = "host"\n' + LXC + "swap = false", Policy(cpus="host", swap=False)),
        (LXC + 'cpus = "host"\n' + LXC + 'cpus = "cpuset"', Policy(cpus="cpuset")),
        (f'{LXC}cpus = "host"\n[[container]]\ncgroup = "/lxc/b"\ncpus = "cpuset"', Policy(cpus="host")),
    ],
)
def test_what_a_file_chooses(text: str, expected: Policy) -> None:
    assert of(text) == expected


def test_a_star_matches_slashes_and_a_pattern_the_whole_path() -> None:
    for path, matches in (("/lxc/a/b", True), ("/lxc/", True), ("/x/lxc/a", False), ("/lxc", False)):
        assert of(LXC + "swap = false", path).swap is not matches


@given(choices, choices, choices, choices)
def test_annotation_goes_before_container_before_flag_before_default(
    default: Choices, rule: Choices, flags: Choices, annotated: Choices
) -> None:
    got = of(f"[default]\n{toml(default)}{LXC}{toml(rule)}", "/lxc/a", flags, annotated)
    built_in: dict[str, Any] = asdict(Policy())
    for key, value in asdict(got).items():
        layers = (annotated, rule, flags, default, built_in)
        assert value == next(layer[key] for layer in layers if key in layer)
    assert of(f"[default]\n{toml(default)}{LXC}{toml(rule)}", "/else", flags) == replace(
        Policy(**built_in), **{**default, **flags}
    )


FAULTS = [
    ("cpus = 1", 1, '"cpus" is neither [default] nor [[container]]'),
    ("\n\n[defaults]\n", 3, '"defaults" is neither [default] nor [[container]]'),
    ("[default]\ncpu = 1", 2, '"cpu" is none of cpus, swap, zswap, loadavg, uptime'),
    ('[default]\nswap = true\ncpus = "all"', 3, 'cpus must be "quota", "cpuset" or "host", not "all"'),
    ("[default]\n# one\n\nswap = 1\nzswap = false", 4, "swap must be true or false, not an integer"),
    ('[default]\nswap = "no"', 2, 'swap must be true or false, not "no"'),
    ("[default]\nuptime = true", 2, 'uptime must be "container" or "host", not true'),
    ("[default]\nuptime = 2001-02-03", 2, 'uptime must be "container" or "host", not a date or time'),
    ("[default]\nloadavg = [\n  true\n]", 2, "loadavg must be true or false, not an array"),
    ("[default.swap]\na = 1", 1, "swap must be true or false, not a table"),
    ("default = 3", 1, "default must be a table: [default]"),
    ('[container]\ncgroup = "/a"', 1, "container must be tables in two brackets each: [[container]]"),
    ("container = [1]", 1, "container must be tables, not an integer: [[container]]"),
    (f"{LXC}\n[[container]]\nswap = false\n{LXC}", 4, "[[container]] without cgroup: say whom it is for"),
    ("[[container]]\ncgroup = 3", 2, 'cgroup must be a pattern as "/lxc.payload.*", not an integer'),
    ('[[container]]\ncgroup = "lxc"', 2, 'cgroup matches nothing: each path begins with /, not "lxc"'),
    (f"{LXC}{LXC}swap = false\nzwap = true\n{LXC}", 6, '"zwap" is none of cgroup, cpus, swap'),
    (f"[default]\r\n{LXC}\r\nswap = 0", 5, "swap must be true or false"),
    (f'{LXC}cpus = """\nquota\n"""\n', 3, 'cpus must be "quota", "cpuset" or "host", not "quota\\n"'),
    ('default."sw\\nap" = 3', 1, '"sw\\nap" is none of'),
    (f'default.cpus = "{"x" * 200}"', 1, f'cpus must be "quota", "cpuset" or "host", not "{"x" * 80}..."'),
    ("[default]\nswap = yes", 2, "not TOML: invalid value"),
    ("[default]\nswap", 2, "not TOML: expected '='"),
    ("[default]\n\n[default]", 3, "not TOML: cannot declare"),
    ('a = """', 1, "not TOML: unterminated string"),
    ('[default]\na = """\n', 3, "not TOML: unterminated string"),
    ("a = " + "[" * 20_000, None, "not TOML: nested too deeply"),
    ("a = " + "1" * 5_000, None, "not TOML: a number of too many digits"),
    ("a = 0x" + "f" * 5_000, 1, '"a" is neither'),
]


@pytest.mark.parametrize(("text", "line", "why"), FAULTS)
def test_a_fault_is_told_with_its_line(text: str, line: int | None, why: str) -> None:
    with pytest.raises(ParseError) as caught:
        policy.parse("/etc/f", text.encode())
    assert caught.value.line == line
    assert str(caught.value).startswith(f"/etc/f:{line}: {why}" if line else f"/etc/f: {why}")
    assert str(caught.value).isprintable()


def test_what_is_not_utf8_is_told_with_its_line() -> None:
    with pytest.raises(ParseError, match="f:2: not UTF-8"):
        policy.parse("f", b"[default]\nswap = \xff\n")


@given(st.lists(st.sampled_from(["", "# x", "[default]", "swap = false", "a.b = [\n1,\n2]", LXC.strip()]), max_size=30))
def test_the_line_is_where_a_fault_was_put(before: list[str]) -> None:
    text = "\n".join(before) + "\n"
    try:
        policy.parse("f", text.encode())
    except ParseError:
        return
    with pytest.raises(ParseError) as caught:
        policy.parse("f", f'{text}[[container]]\ncgroup = "/x"\nfault = 1\n\n{LXC}'.encode())
    assert caught.value.line == text.count("\n") + 3


_WORDS = ("[", "]", "=", '"', "'", "\n", " ", ".", "default", "container", "cgroup", "/a", *policy.CHOICES, "true", "1")


@given(
    st.binary(max_size=200)
    | st.text(max_size=200).map(str.encode)
    | st.lists(st.sampled_from(_WORDS)).map("".join).map(str.encode)
)
@example(b"[[container]]\ncgroup='/a'\n[container.swap]\n")
@example(b"[default]\nswap=00:00:00")
def test_any_text_gives_policies_or_a_parse_error_of_one_line(text: bytes) -> None:
    found: list[ParseError] = []
    try:
        assert isinstance(policy.parse("f", text).of("/a", {}), Policy)
    except ParseError as error:
        found = [error]
    for error in found:
        assert str(error).isprintable()
        assert error.line is None or 1 <= error.line <= text.count(b"\n") + 1


def test_a_fault_in_a_long_file_is_found_soon() -> None:
    rules = "".join(f'[[container]]\ncgroup = "/{number}"\nswap = false\n' for number in range(2000))
    with pytest.raises(ParseError, match="f:6002: swap must be"):
        policy.parse("f", f"{rules}[default]\nswap = 3\n{rules}".encode())


@pytest.mark.parametrize(
    ("annotations", "chosen"),
    [
        ({}, {}),
        ({"org.lxcfs.cpus": "cpuset", "io.kubernetes.x": "y"}, {"cpus": "cpuset"}),
        ({"org.lxcfs.swap": "false", "org.lxcfs.loadavg": "true"}, {"swap": False, "loadavg": True}),
        ({"org.lxcfs": "x", "org.lxcfsx": "y"}, {}),
    ],
)
def test_annotations(annotations: dict[str, object], chosen: Choices) -> None:
    assert policy.annotated(annotations) == chosen


@pytest.mark.parametrize(
    ("annotations", "why"),
    [
        ({"org.lxcfs.cpus": "all"}, 'annotation org.lxcfs.cpus: must be quota, cpuset or host, not "all"'),
        ({"org.lxcfs.swap": "no"}, 'annotation org.lxcfs.swap: must be true or false, not "no"'),
        ({"org.lxcfs.swap": "False"}, 'annotation org.lxcfs.swap: must be true or false, not "False"'),
        ({"org.lxcfs.swap": False}, "annotation org.lxcfs.swap: must be true or false, not false"),
        ({"org.lxcfs.cpu\n": "host"}, "annotation org.lxcfs.cpu\\n: there is no such one"),
        ({"org.lxcfs.": "host"}, "annotation org.lxcfs.: there is no such one"),
    ],
)
def test_a_wrong_annotation_is_an_error(annotations: dict[str, object], why: str) -> None:
    with pytest.raises(Error) as caught:
        policy.annotated(annotations)
    assert caught.value.message == why


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda each: (
        st.lists(each, max_size=3) | st.dictionaries(st.sampled_from([*policy.CHOICES, "x"]), each, max_size=3)
    ),
)


@given(_json)
def test_what_was_written_down_is_taken_only_as_far_as_it_is_a_choice(written: object) -> None:
    Policy(**dict(policy.sane(written)))
    for key, value in policy.sane(written).items():
        assert [each for each in policy.CHOICES[key] if each == value and type(each) is type(value)]


@given(choices)
def test_choices_are_sane(chosen: Choices) -> None:
    assert policy.sane(dict(chosen)) == chosen


@given(choices)
def test_annotations_spell_choices(chosen: Choices) -> None:
    spelled = {
        f"org.lxcfs.{key}": str(value) if isinstance(value, str) else str(value).lower()
        for key, value in chosen.items()
    }
    assert policy.annotated(spelled) == chosen
    with contextlib.suppress(Error):
        policy.annotated({name: f"{value} " for name, value in spelled.items()})
        assert not spelled


def test_who_made_each_choice_is_told_as_it_was_chosen() -> None:
    text = b'[default]\nswap = false\nzswap = false\ncpus = "host"\n[[container]]\ncgroup = "/a*"\nzswap = true\n'
    known = policy.parse("config.toml", text)._replace(flags={"cpus": "cpuset", "uptime": "host"})
    expected = {"swap": "[default]", "zswap": '[[container]] "/a*"', "cpus": "annotation", "uptime": "flag"}
    assert known.chosen_by("/ab", {"cpus": "quota"}) == expected
    assert known.chosen_by("/b", {}) == {**expected, "zswap": "[default]", "cpus": "flag"}
