"""Laws on the source that no linter has: sizes, where ctypes and print may be, docstrings, nothing unfinished.

Layers and pure modules are import-linter's (pyproject.toml). Each law is a function from a module to its faults, and is
shown here to find one.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CODE = ("lxcfs_py", "runtime/pyrun", "exporter/lxcfs_exporter")
LONGEST_FILE = 600
LONGEST_FUNCTION = 70
VAGUE = frozenset({"utils", "util", "helpers", "common", "misc", "manager", "base", "core"})


@dataclass(frozen=True)
class Module:
    """One file of source; `path` is relative to the checkout."""

    path: str
    text: str

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def name(self) -> str:
        return Path(self.path).stem

    @property
    def is_code(self) -> bool:
        return self.path.startswith(CODE)

    def comments(self) -> Iterator[tuple[int, str]]:
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


Faults = Iterator[str]


def file_length(module: Module) -> Faults:
    lines = module.text.count("\n")
    if lines > LONGEST_FILE:
        yield f"{lines} lines, more than {LONGEST_FILE}: split it by what it knows"


def function_length(module: Module) -> Faults:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            lines = node.end_lineno - node.lineno + 1
            if lines > LONGEST_FUNCTION:
                yield f"{node.lineno}: {node.name} has {lines} lines, more than {LONGEST_FUNCTION}"


def docstring(module: Module) -> Faults:
    empty = not module.text.strip() and not module.is_code
    if not empty and not ast.get_docstring(module.tree):
        yield "no docstring: say what the module is for and what it leaves to others"


def ctypes_in_one_place(module: Module) -> Faults:
    if module.is_code and module.path not in ("lxcfs_py/linux.py", "runtime/pyrun/libseccomp.py"):
        for line, name in _imports(module):
            if name.partition(".")[0] == "ctypes":
                yield f"{line}: ctypes is for lxcfs_py/linux.py, and pyrun/libseccomp.py for that library"


def print_in_the_command_line_only(module: Module) -> Faults:
    if module.is_code and module.name not in ("cli", "commands", "people"):
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                yield f"{node.lineno}: print outside of the command line"


def excuses_are_named(module: Module) -> Faults:
    for line, comment in module.comments():
        if re.search(r"type:\s*ignore(?!\[)", comment) or re.search(r"\bnoqa\b(?!:)", comment):
            yield f"{line}: {comment}: name the rule"


def nothing_unfinished(module: Module) -> Faults:
    for line, comment in module.comments():
        if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", comment):
            yield f"{line}: {comment}"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Name) and node.id == "NotImplementedError":
            yield f"{node.lineno}: NotImplementedError"


def names_say_something(module: Module) -> Faults:
    for part in Path(module.path).with_suffix("").parts:
        if part in VAGUE:
            yield f"{part} says nothing of what is in it"


def no_mutable_module_state(module: Module) -> Faults:
    if module.is_code:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Global):
                yield f"{node.lineno}: global {', '.join(node.names)}"


def _imports(module: Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module


_PLAIN = '"""Of use."""\n'
_LONG_FUNCTION = "def f():\n" + "    x = 1\n" * LONGEST_FUNCTION

LAWS: dict[Callable[[Module], Faults], tuple[str, str]] = {
    file_length: ("lxcfs_py/a.py", _PLAIN + "x = 1\n" * LONGEST_FILE),
    function_length: ("tests/a.py", _PLAIN + _LONG_FUNCTION),
    docstring: ("lxcfs_py/a.py", "x = 1\n"),
    ctypes_in_one_place: ("runtime/pyrun/a.py", f"{_PLAIN}def f():\n    from ctypes.util import find_library\n"),
    print_in_the_command_line_only: ("exporter/lxcfs_exporter/a.py", f"{_PLAIN}print(1)\n"),
    excuses_are_named: ("lxcfs_py/a.py", f"{_PLAIN}x = 1  # type: " + "ignore\n"),
    nothing_unfinished: ("lxcfs_py/a.py", f"{_PLAIN}# TO" + "DO: more\n"),
    names_say_something: ("lxcfs_py/utils.py", _PLAIN),
    no_mutable_module_state: ("lxcfs_py/a.py", f"{_PLAIN}def f():\n    global x\n    x = 1\n"),
}
"""Each law, and a path and text that break it and no other."""


def modules() -> list[Module]:
    paths = [path for folder in (*CODE, "tests") for path in sorted((ROOT / folder).rglob("*.py"))]
    return [Module(str(path.relative_to(ROOT)), path.read_text()) for path in paths]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_the_source_keeps(law: Callable[[Module], Faults]) -> None:
    faults = [f"{module.path}: {fault}" for module in modules() for fault in law(module)]
    if faults:
        pytest.fail("\n".join(faults), pytrace=False)


@pytest.mark.parametrize("planted", LAWS, ids=lambda law: law.__name__)
def test_a_planted_fault_is_found_by_its_law_alone(planted: Callable[[Module], Faults]) -> None:
    module = Module(*LAWS[planted])
    assert [law.__name__ for law in LAWS if list(law(module))] == [planted.__name__]


def test_the_code_that_the_laws_see_is_there() -> None:
    assert {"lxcfs_py/linux.py", "runtime/pyrun/__init__.py", "exporter/lxcfs_exporter/__init__.py"} <= {
        module.path for module in modules()
    }
