"""Formulas: what they may say, and what they come to.

A formula is a Python expression over names with dots (`memory.stat.anon`, `MemTotal`), whole numbers, and

    + - * // %          of numbers; / is exact, for the decimals that the kernel prints
    & | -               of sets of CPUs
    min max sum len     as in Python, but that what is no limit (null) is passed over by min
    first(set, n)       the n lowest CPUs of a set, at least one if it has any

and nothing else. A sum or product with null is null. Pure, and knows no name.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from fractions import Fraction

from lxcfs_py.errors import Error

Number = int | Fraction
Value = Number | frozenset[int] | None
"""None is no limit."""
Look = Callable[[str], Value]


class FormulaError(Error):
    """A formula that says what it may not, or puts together what does not go together."""


def names(formula: str) -> tuple[str, ...]:
    """The names that a formula has, each once, in its order."""
    return tuple(dict.fromkeys(_names(ast.parse(formula, mode="eval").body)))


def evaluate(formula: str, look: Look) -> Value:
    """What it comes to; `look` gives the value of a name."""
    return _value(ast.parse(formula, mode="eval").body, look)


def _names(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Name | ast.Attribute):
        yield _dotted(node)
    elif isinstance(node, ast.Call):
        for argument in node.args:
            yield from _names(argument)
    else:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                yield from _names(child)


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    if isinstance(node, ast.Name):
        return node.id
    raise FormulaError(f"{ast.unparse(node)} is no name")


def _value(node: ast.expr, look: Look) -> Value:
    match node:
        case ast.Constant(value=int(number)):
            return number
        case ast.Name() | ast.Attribute():
            return look(_dotted(node))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            negated = _value(operand, look)
            return None if negated is None else -_number(negated)
        case ast.BinOp(left=left, op=op, right=right):
            return _operation(type(op), _value(left, look), _value(right, look))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            return _call(name, [_value(argument, look) for argument in arguments])
    raise FormulaError(f"{ast.unparse(node)} may not be in a formula")


def _operation(op: type[ast.operator], left: Value, right: Value) -> Value:
    if left is None or right is None:
        return None
    if isinstance(left, frozenset) and isinstance(right, frozenset):
        return _SETS[op](left, right)
    return _NUMBERS[op](_number(left), _number(right))


def _call(name: str, values: list[Value]) -> Value:
    if name in ("min", "max", "sum"):
        known = [_number(value) for value in values if value is not None]
        if name == "min":
            return min(known, default=None)
        if None in values:
            return None
        return max(known) if name == "max" else sum(known)
    if name == "len" and len(values) == 1 and isinstance(values[0], frozenset):
        return len(values[0])
    if name == "first" and len(values) == 2 and isinstance(values[0], frozenset):
        count = values[1]
        return values[0] if count is None else frozenset(sorted(values[0])[: max(1, int(_number(count)))])
    raise FormulaError(f"{name}() may not be in a formula, or not of this")


def _number(value: Value) -> Number:
    if isinstance(value, int | Fraction):
        return value
    raise FormulaError(f"{value} is not a number")


_NUMBERS: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: lambda left, right: left + right,
    ast.Sub: lambda left, right: left - right,
    ast.Mult: lambda left, right: left * right,
    ast.FloorDiv: lambda left, right: left // right,
    ast.Mod: lambda left, right: left % right,
    ast.Div: lambda left, right: Fraction(left) / Fraction(right),
}
_SETS: dict[type[ast.operator], Callable[[frozenset[int], frozenset[int]], frozenset[int]]] = {
    ast.BitAnd: frozenset.intersection,
    ast.BitOr: frozenset.union,
    ast.Sub: frozenset.difference,
}
