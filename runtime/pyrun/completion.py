"""Completion scripts for bash, zsh and fish, made of the table of commands. IDs are asked of `pyrun list -q` when
needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pyrun.arguments import Command, Option

_TAKES_ID = frozenset(("start", "state", "kill", "delete"))


def _words(options: Sequence[Option]) -> str:
    return " ".join(name for option in options for name in option.names)


def bash(general: Sequence[Option], commands: Sequence[Command]) -> str:
    cases = "".join(
        f"        {command.name}) words='{_words(command.options)}'"
        f"{'; ids=1' if command.name in _TAKES_ID else ''} ;;\n"
        for command in commands
    )
    names = " ".join(command.name for command in commands)
    return f"""\
_pyrun() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} word command= words= ids=
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case $word in
            {"|".join(command.name for command in commands)}) command=$word; break ;;
        esac
    done
    case $command in
        '') words='{names} {_words(general)}' ;;
{cases}    esac
    if [[ $current != -* && -n $ids ]]; then
        words=$(pyrun list -q 2>/dev/null)
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}}
complete -o default -F _pyrun pyrun
"""


def zsh(general: Sequence[Option], commands: Sequence[Command]) -> str:
    return "#compdef pyrun\nautoload -U +X bashcompinit && bashcompinit\n" + bash(general, commands)


def fish(general: Sequence[Option], commands: Sequence[Command]) -> str:
    names = " ".join(command.name for command in commands)
    lines = [f"complete -c pyrun -n 'not __fish_seen_subcommand_from {names}' {_fish(option)}" for option in general]
    for command in commands:
        lines.append(
            f"complete -c pyrun -f -n 'not __fish_seen_subcommand_from {names}' -a {command.name} "
            f"-d {_quoted(command.summary)}"
        )
        seen = f"-n '__fish_seen_subcommand_from {command.name}'"
        lines += [f"complete -c pyrun {seen} {_fish(option)}" for option in command.options]
        lines += [f"complete -c pyrun -f {seen} -a '(pyrun list -q)'"] if command.name in _TAKES_ID else []
    return "\n".join(lines) + "\n"


def _fish(option: Option) -> str:
    names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
    return f"{names}{' -r' if option.takes else ''} -d {_quoted(option.help)}"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SHELLS: Mapping[str, Callable[[Sequence[Option], Sequence[Command]], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
