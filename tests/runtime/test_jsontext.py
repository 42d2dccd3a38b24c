"""JSON without `json`: held against it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrun import jsontext

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(plain)
def test_what_is_written_is_what_json_writes_and_is_read_again(value: object) -> None:
    text = jsontext.dumps(value)
    assert text == json.dumps(value)
    assert jsontext.pretty(value) == json.dumps(value, indent=2)
    assert jsontext.loads(text) == value
    assert jsontext.loads(f" \n\t{json.dumps(value, indent=2)}\r\n") == value


@pytest.mark.parametrize("text", ["1.5e3", "-Infinity", '{"a": 1, "a": 2}', '"\\ud800\\u00e9"', "[]", "[1.0, 1e400]"])
def test_all_that_json_reads_is_read(text: str) -> None:
    assert jsontext.loads(text) == json.loads(text)


@pytest.mark.parametrize(
    "text", ["", " ", "\ufeff{}", "{} x", "[1,]", '{"a" 1}', '{"a": }', "nul", '"\n"', '"\\x"', "{'a': 1}", "[" * 9]
)
def test_what_is_wrong_is_said_as_json_says_it(text: str) -> None:
    with pytest.raises(json.JSONDecodeError) as theirs:
        json.loads(text)
    with pytest.raises(json.JSONDecodeError) as ours:
        jsontext.loads(text)
    assert str(ours.value) == str(theirs.value)


def test_what_is_nested_too_deeply_is_refused() -> None:
    with pytest.raises(RecursionError):
        jsontext.loads("[" * 100_000)


@pytest.mark.parametrize("value", [1.5, b"", {1}, {1: 2}])
def test_what_is_not_plain_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        jsontext.dumps(value)


def test_what_is_wrong_is_said_where_nobody_has_imported_json() -> None:
    code = "from pyrun.jsontext import loads\ntry: loads('{')\nexcept ValueError as error: print(error)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)\n"


def test_json_is_not_imported() -> None:
    code = (
        "import sys; from pyrun import jsontext as j; j.loads(j.dumps({'a': [1, None]})); print('json' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("text", ["{", "[1,]", '{"a" 1}', '"\\x"', "nul"])
def test_what_is_wrong_is_said_too_where_json_was_not_imported(text: str) -> None:
    """The scanner has no word for it then."""
    code = (
        "import sys; from pyrun import jsontext\n"
        "try: jsontext.loads(sys.argv[1])\n"
        "except ValueError as error: print(type(error).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code, text], capture_output=True, text=True, check=True)
    assert done.stdout == "JSONDecodeError\n", done.stderr
