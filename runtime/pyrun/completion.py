"""Completion scripts for bash, zsh and fish, made of the table of commands.

What follows an option is known by what the table calls its value: a directory, a file, an ID, one of its choices. IDs
are asked of pyrun when they are needed, with the --root that the line has; what follows the ID of `exec`, and the
command of `launch`, is completed as a line of its own.

Not by shtab, which takes a parser of argparse: pyrun has none (see `arguments`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from pyrun.arguments import Command, Option

_DIRECTORIES = frozenset(("DIR",))
_FILES = frozenset(("FILE", "PATH", "PROFILE", "SOCKET", "DIR:DIR[:ro]", "PATH[:PATH][:rwm]"))
_SIGNALS = ("TERM", "KILL", "HUP", "INT", "QUIT", "USR1", "USR2")
_MAKES = frozenset(("run", "create", "restore"))
"""Commands whose ID is not there yet."""
_SHELLS = ("bash", "zsh", "fish")


class _Word:
    """What a word of a line may be."""

    DIRECTORY, FILE, ID, COMMAND, NOTHING = "directory", "file", "id", "command", "nothing"


def _value(option: Option) -> str | tuple[str, ...]:
    """What follows an option: one of the kinds of words, or the words themselves."""
    if option.choices:
        return option.choices
    if option.takes == "SIGNAL":
        return _SIGNALS
    if option.takes in _DIRECTORIES:
        return _Word.DIRECTORY
    return _Word.FILE if option.takes in _FILES else _Word.NOTHING


def _places(command: Command) -> tuple[str | tuple[str, ...], ...]:
    """What the words beside options are, the last for all that follow."""
    if command.name == "completion":
        return (_SHELLS, _Word.NOTHING)
    usage = command.usage.replace("[", "").replace("]", "")
    if usage.startswith("-- COMMAND"):
        return (_Word.COMMAND,)
    if not usage.startswith("ID") or command.name in _MAKES:
        return (_Word.NOTHING,)
    if usage.startswith("ID..."):
        return (_Word.ID,)
    further: Mapping[str, str | tuple[str, ...]] = {"ID COMMAND ARGUMENT...": _Word.COMMAND, "ID SIGNAL": _SIGNALS}
    return (_Word.ID, further.get(usage, _Word.NOTHING))


def _names(options: Sequence[Option]) -> str:
    return " ".join(name for option in options for name in option.names)


# bash ---------------------------------------------------------------------------------------------------------------


def bash(general: Sequence[Option], commands: Sequence[Command]) -> str:
    tables = [("", general), *((command.name, command.options) for command in commands)]
    values = "".join(
        f"        {'|'.join(f'{name}:{word}' for word in option.names)}) echo '{_bash_value(_value(option))}' ;;\n"
        for name, options in tables
        for option in options
        if option.takes
    )
    options = "".join(f"        {name}:) echo '{_names(options)}' ;;\n" for name, options in tables)
    places = "".join(_bash_places(command) for command in commands)
    return f"""\
_pyrun_value() {{
    case $1 in
{values}        *) return 1 ;;
    esac
}}
_pyrun_options() {{
    case $1: in
{options}    esac
}}
_pyrun_place() {{
    case $1:$2 in
        :*) echo '{" ".join(command.name for command in commands)}' ;;
{places}    esac
}}
{_BASH}"""


_BASH = f"""\
_pyrun() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} command= place=0 kind= word index
    local -a root=()
    for ((index = 1; index < COMP_CWORD; index++)); do
        word=${{COMP_WORDS[index]}}
        if [[ $command: == : && $word == --root ]]; then
            root=(--root "${{COMP_WORDS[index+1]}}")
            [[ ${{root[1]}} == = ]] && root=(--root "${{COMP_WORDS[index+2]}}")
        fi
        if _pyrun_value "$command:$word" >/dev/null; then
            index=$((index + 1))
            [[ ${{COMP_WORDS[index]}} == = ]] && index=$((index + 1))
        elif [[ $word == -- ]]; then
            place=$((place + 1))
        elif [[ $word != -* && -z $command ]]; then
            command=$word
        elif [[ $word != -* ]]; then
            place=$((place + 1))
        fi
    done
    [[ $previous == = ]] && previous=${{COMP_WORDS[COMP_CWORD-2]}}
    if [[ $current == = ]]; then
        current=
    fi
    kind=$(_pyrun_value "$command:$previous") || {{
        if [[ $current == -* ]]; then
            kind=$(_pyrun_options "$command")
        else
            kind=$(_pyrun_place "$command" "$place")
        fi
    }}
    case $kind in
        @{_Word.DIRECTORY}) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
        @{_Word.FILE}) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
        @{_Word.COMMAND}) mapfile -t COMPREPLY < <(compgen -c -- "$current"; compgen -f -- "$current") ;;
        @{_Word.ID}) mapfile -t COMPREPLY < <(compgen -W "$(pyrun "${{root[@]}}" list -q 2>/dev/null)" -- "$current") ;;
        @{_Word.NOTHING}) COMPREPLY=() ;;
        *) mapfile -t COMPREPLY < <(compgen -W "$kind" -- "$current") ;;
    esac
}}
complete -F _pyrun pyrun
"""
"""What is the same whatever the commands are."""


def _bash_value(value: str | tuple[str, ...]) -> str:
    return f"@{value}" if isinstance(value, str) else " ".join(value)


def _bash_places(command: Command) -> str:
    *first, last = _places(command)
    rows = [f"        {command.name}:{number}) echo '{_bash_value(kind)}' ;;\n" for number, kind in enumerate(first)]
    return "".join((*rows, f"        {command.name}:*) echo '{_bash_value(last)}' ;;\n"))


# zsh ----------------------------------------------------------------------------------------------------------------

_ZSH = {
    _Word.DIRECTORY: "_files -/",
    _Word.FILE: "_files",
    _Word.ID: "_pyrun_ids",
    _Word.NOTHING: " ",
}


def zsh(general: Sequence[Option], commands: Sequence[Command]) -> str:
    described = "".join(f"        {_quoted(f'{command.name}:{command.summary}')}\n" for command in commands)
    cases = "".join(
        f"        {command.name})\n            _arguments -s -S {_zsh_options(command.options)} \\\n"
        f"                {' '.join(_zsh_places(command))} ;;\n"
        for command in commands
    )
    return f"""\
#compdef pyrun
_pyrun_ids() {{
    local -a ids
    ids=(${{(f)"$(pyrun ${{_pyrun_root:+--root}} ${{_pyrun_root}} list -q 2>/dev/null)"}})
    compadd -a ids
}}
_pyrun() {{
    local curcontext=$curcontext state line _pyrun_root
    typeset -A opt_args
    local -a _pyrun_commands=(
{described}    )
    _arguments -C -s -S {_zsh_options(general)} \\
        '1: :->command' '*:: :->argument'
    _pyrun_root=${{(Q)opt_args[--root]}}
    if [[ $state == command ]]; then
        _describe command _pyrun_commands
        return
    fi
    case $line[1] in
{cases}    esac
}}
if [[ $funcstack[1] == _pyrun ]]; then
    _pyrun "$@"
else
    compdef _pyrun pyrun
fi
"""


def _zsh_options(options: Sequence[Option]) -> str:
    return " ".join(
        _quoted(
            f"{_zsh_excluded(option)}{name}{_zsh_taken(option, name)}[{_zsh_text(option.help)}]{_zsh_value(option)}"
        )
        for option in options
        for name in option.names
    )


def _zsh_excluded(option: Option) -> str:
    return "*" if option.repeats else f"({' '.join(option.names)})"


def _zsh_taken(option: Option, name: str) -> str:
    """How a value follows: `--name=VALUE` as well as `--name VALUE`, `-nVALUE` as well as `-n VALUE`."""
    return ("=" if name.startswith("--") else "+") if option.takes else ""


def _zsh_value(option: Option) -> str:
    return f":{_zsh_text(option.takes)}:{_zsh_action(_value(option))}" if option.takes else ""


def _zsh_action(value: str | tuple[str, ...]) -> str:
    return _ZSH.get(value, " ") if isinstance(value, str) else f"({' '.join(value)})"


def _zsh_places(command: Command) -> Iterator[str]:
    *first, last = _places(command)
    for number, kind in enumerate(first, 1):
        yield _quoted(f"{number}: :{_zsh_action(kind)}")
    if last == _Word.COMMAND:
        yield _quoted(f"{len(first) + 1}: :_command_names -e")
        yield _quoted("*:: : _normal")
    else:
        yield _quoted(f"*: :{_zsh_action(last)}")


def _zsh_text(text: str) -> str:
    """As it is within brackets and before a colon."""
    return "".join(f"\\{letter}" if letter in "[]:\\" else letter for letter in text)


# fish ---------------------------------------------------------------------------------------------------------------

_FISH = {
    _Word.DIRECTORY: "-x -a '(__fish_complete_directories (commandline -ct))'",
    _Word.FILE: "-r -F",
    _Word.NOTHING: "-x",
}


def fish(general: Sequence[Option], commands: Sequence[Command]) -> str:
    names = " ".join(command.name for command in commands)
    none = f"not __fish_seen_subcommand_from {names}"
    lines = [_FISH_IDS, "complete -c pyrun -f"]
    lines += [f"complete -c pyrun -n '{none}' {_fish_option(option)}" for option in general]
    for command in commands:
        lines.append(f"complete -c pyrun -n '{none}' -a {command.name} -d {_quoted(command.summary)}")
        seen = f"-n '__fish_seen_subcommand_from {command.name}'"
        lines += [f"complete -c pyrun {seen} {_fish_option(option)}" for option in command.options]
        lines += [f"complete -c pyrun {seen} {row}" for kind in _places(command) for row in _fish_word(kind)]
    return "\n".join(lines) + "\n"


_FISH_IDS = """\
function __pyrun_ids
    set -l words (commandline -opc)
    if set -l place (contains -i -- --root $words)
        pyrun --root $words[(math $place + 1)] list -q 2>/dev/null
    else
        pyrun list -q 2>/dev/null
    end
end"""


def _fish_option(option: Option) -> str:
    names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
    return f"{names}{_fish_value(option)} -d {_quoted(option.help)}"


def _fish_value(option: Option) -> str:
    if not option.takes:
        return ""
    value = _value(option)
    return f" {_FISH[value]}" if isinstance(value, str) else f" -x -a '{' '.join(value)}'"


def _fish_word(kind: str | tuple[str, ...]) -> Iterator[str]:
    if isinstance(kind, tuple):
        yield f"-a '{' '.join(kind)}'"
    elif kind == _Word.ID:
        yield "-a '(__pyrun_ids)'"
    elif kind == _Word.COMMAND:
        yield "-a '(__fish_complete_command)'"


def _quoted(text: str) -> str:
    """For zsh and fish, both of which take a quote within quotes as '\\''."""
    return "'" + text.replace("'", "'\\''") + "'"


SHELLS: Mapping[str, Callable[[Sequence[Option], Sequence[Command]], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
