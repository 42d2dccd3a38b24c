"""Completion scripts for bash, zsh and fish, from the options of the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

_COMMANDS = ("completion", "once")


class Option(NamedTuple):
    """One option."""

    name: str
    """With its dashes."""
    value: str | None
    """What stands after it; None where nothing does."""
    help: str


def _bash(program: str, options: Sequence[Option]) -> str:
    valued = "|".join(option.name for option in options if option.value is not None)
    names = " ".join((*_COMMANDS, *(option.name for option in options)))
    return f"""_lxcfs_exporter() {{
    local words="{names}"
    [ "${{COMP_WORDS[1]}}" = once ] && words="--json $words"
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
    lines.append("  '--json[with once]' \\")
    return "\n".join((*lines, f"  '1::command:({' '.join(_COMMANDS)})' \\", f"  '2::shell:({' '.join(SHELLS)})'", ""))


def _fish(program: str, options: Sequence[Option]) -> str:
    lines = [f"complete -c {program} -f"]
    for option in options:
        needs = "" if option.value is None else " -r"
        text = option.help.replace("'", "")
        lines.append(f"complete -c {program} -l {option.name.lstrip('-')}{needs} -d '{text}'")
    lines.append(f"complete -c {program} -n __fish_use_subcommand -a '{' '.join(_COMMANDS)}'")
    lines.append(f"complete -c {program} -n '__fish_seen_subcommand_from once' -l json")
    lines.append(f"complete -c {program} -n '__fish_seen_subcommand_from completion' -a '{' '.join(SHELLS)}'")
    return "\n".join((*lines, ""))


SHELLS: dict[str, Callable[[str, Sequence[Option]], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
