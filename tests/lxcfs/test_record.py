"""Records: what typing.NamedTuple does, at less cost to make."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import typing

import pytest

from lxcfs_py.record import NamedTuple


class Ours(NamedTuple):
    """Told."""

    name: str
    size: int = 7
    """Bytes."""
    parts: tuple[str, ...] = ()

    @property
    def doubled(self) -> int:
        return 2 * self.size

    def describe(self) -> str:
        return f"{self.name}: {self.size}"


class Theirs(typing.NamedTuple):
    name: str
    size: int = 7
    parts: tuple[str, ...] = ()


class Empty(NamedTuple):
    """A record without fields."""


def test_values_come_by_place_by_name_and_by_default() -> None:
    for made in (Ours("a"), Ours(name="a"), Ours("a", 7), Ours("a", parts=()), Ours("a", 7, ())):
        assert (made.name, made.size, made.parts, made.doubled, made.describe()) == ("a", 7, (), 14, "a: 7")
        assert made == ("a", 7, ()) == Theirs("a")
        assert hash(made) == hash(Theirs("a"))


def test_it_tells_what_typings_tells() -> None:
    ours, theirs = Ours("a", 2), Theirs("a", 2)
    assert repr(ours) == repr(theirs).replace("Theirs", "Ours")
    assert (ours._fields, ours._field_defaults) == (theirs._fields, theirs._field_defaults)
    assert (ours._asdict(), Ours._make(["b", 1, ()])) == (theirs._asdict(), Theirs._make(["b", 1, ()]))
    assert ours._replace(size=3) == theirs._replace(size=3)
    assert (Ours.__doc__, Empty(), Empty._fields) == ("Told.", (), ())
    match ours:
        case Ours(name, size):
            assert (name, size) == ("a", 2)


def test_a_copy_is_the_same() -> None:
    made = Ours("a", 2, ("x",))
    for each in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert type(each) is Ours
        assert each == made


def test_nothing_else_can_be_set() -> None:
    with pytest.raises(AttributeError):
        Ours("a").name = "b"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        Ours("a").other = "b"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ((), {}),
        (("a",), {"name": "b"}),
        (("a",), {"weight": 1}),
        (("a", 1, (), 4), {}),
        ((), {"size": 1}),
    ],
)
def test_wrong_values_are_refused_by_both(values: tuple[object, ...], named: dict[str, object]) -> None:
    for kind in (Ours, Theirs):
        with pytest.raises(TypeError):
            kind(*values, **named)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="weight"):
        Ours("a")._replace(weight=1)  # type: ignore[call-arg]


def test_it_needs_no_typing() -> None:
    code = "import sys; from lxcfs_py import record; print('typing' in sys.modules, 'collections' in sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, '.'); {code}"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout == "False False\n"
