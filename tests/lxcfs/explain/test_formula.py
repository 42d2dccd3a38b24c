"""Formulas: what they come to, and that they can do nothing else."""

from __future__ import annotations

from fractions import Fraction

import pytest

from lxcfs_py.explain import formula
from lxcfs_py.explain.formula import FormulaError, Value

KNOWN: dict[str, Value] = {
    "a": 7,
    "memory.stat.anon": 4096,
    "unlimited": None,
    "cpus": frozenset({0, 2, 4}),
    "others": frozenset({2, 3}),
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("-a", -7),
        ("a + 2 * 3 - 1", 12),
        ("memory.stat.anon // 1024 % 3", 1),
        ("a * 100 // 2048 / 100", Fraction(0)),
        ("a / 2", Fraction(7, 2)),
        ("-(-a // 2)", 4),
        ("min(a, 3, unlimited)", 3),
        ("min(unlimited)", None),
        ("max(0, unlimited - a)", None),
        ("max(0, a - 9)", 0),
        ("sum(a, a, 1)", 15),
        ("sum(a, unlimited)", None),
        ("len(cpus)", 3),
        ("cpus & others", frozenset({2})),
        ("(cpus | others) - others", frozenset({0, 4})),
        ("first(cpus, 2)", frozenset({0, 2})),
        ("first(cpus, 0)", frozenset({0})),
        ("first(cpus, unlimited)", frozenset({0, 2, 4})),
    ],
)
def test_a_formula_comes_to(text: str, value: Value) -> None:
    assert formula.evaluate(text, KNOWN.__getitem__) == value


def test_names_are_told_in_their_order_and_once() -> None:
    assert formula.names("max(0, memory.limit - a.b) // 1024 + a.b + MemTotal") == ("memory.limit", "a.b", "MemTotal")


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "a.__class__()",
        "(1).real",
        "'text'",
        "1.5",
        "True + a if a else 1",
        "[a]",
        "a ** 9999999",
        "a << 9999999",
        "print(a)",
        "min(a, key=a)",
        "max(*cpus)",
        "lambda: 1",
        "cpus + others",
        "cpus * a",
        "len(a)",
        "first(a, 1)",
    ],
)
def test_a_formula_can_say_nothing_else(text: str) -> None:
    with pytest.raises((FormulaError, KeyError)):
        formula.evaluate(text, KNOWN.__getitem__)
