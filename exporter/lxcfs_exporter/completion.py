"""Completion scripts for bash, zsh and fish, from the options of the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple


class Option(NamedTuple):
    """One option."""

    name: str
    """With its dashes."""
    value: str | None
    """What stands after it; None where nothing does."""
    help: str


def _bash(program: str, options: Sequence[Option]) -> str:
    valued = "|".join(option.name for option in options if option.value is not None)
    names = " ".join(("completion", *(option.name for option in options)))
    return f"""_lxcfs_exporter() {{
    local words="{names}"
    case ${{COMP_WORDS[COMP_CWORD-1]}} in
        {valued}) words= ;;
        completion) words="{" ".join(SHELLS)}" ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}")
}}
complete -F _lxcfs_exporter {program}
"""


def _zsh(program: str, options: Sequence[Option]) -> str:
    lines = [f"#compdef {program}", "_arguments \\"]
    for option in options:
        text = option.help.translate({ord(char): f"\\{char}" for char in "[]:"}).replace("'", "")
        value = "" if option.value is None else f":{option.value.lower()}:"
        lines.append(f"  '*{option.name}[{text}]{value}' \\")
    return "\n".join((*lines, "  '1::command:(completion)' \\", f"  '2::shell:({' '.join(SHELLS)})'", ""))


def _fish(program: str, options: Sequence[Option]) -> str:
    lines = [f"complete -c {program} -f"]
    for option in options:
        needs = "" if option.value is None else " -r"
        text = option.help.replace("'", "")
        lines.append(f"complete -c {program} -l {option.name.lstrip('-')}{needs} -d '{text}'")
    lines.append(f"complete -c {program} -n __fish_use_subcommand -a completion")
    lines.append(f"complete -c {program} -n '__fish_seen_subcommand_from completion' -a '{' '.join(SHELLS)}'")
    return "\n".join((*lines, ""))


SHELLS: dict[str, Callable[[str, Sequence[Option]], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
