"""The exceptions of all three programs, and how one is told to a person.

    Error                   message and hint; everything below is expected and printed without a traceback
     +-- UsageError         the command line is wrong
     +-- ParseError         a file does not have the form that its documentation gives it
     +-- SpecError          an OCI config.json says something wrong; names the JSON path
     +-- NotFound           what was named does not exist
     +-- Conflict           what is asked for contradicts what is there (second instance, name in use)
     +-- Unsupported        this kernel, machine or release cannot do it

Failures of the kernel stay `OSError`; whoever knows what was being done adds `error.add_note("while ...")`.
Messages: lower case, no full stop, with the path and the value. Printed once, by each program's `cli`.
"""

from __future__ import annotations


class Error(Exception):
    """An expected failure: one line that says what is wrong and, where there is one, a hint that says what to do."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(Error):
    """The command line is wrong."""


class ParseError(Error):
    """The text of `path` does not have its documented form; `line` counts from 1, None where it is the whole."""

    def __init__(self, path: str, line: int | None, why: str) -> None:
        super().__init__(f"{path}:{line}: {why}" if line is not None else f"{path}: {why}")
        self.path = path
        self.line = line


class SpecError(Error):
    """`where` is the JSON path of the fault in config.json, as `mounts[2].options`."""

    def __init__(self, where: str, why: str, hint: str | None = None) -> None:
        super().__init__(f"{where}: {why}", hint or "compare with what `pyrun spec` writes")
        self.where = where


class NotFound(Error):
    """What was named does not exist."""


class Conflict(Error):
    """What is asked for contradicts what is there."""


class Unsupported(Error):
    """This kernel, machine or release cannot do it."""


def describe(error: BaseException) -> list[str]:
    """The lines that tell a person of an error, without the program's name: what failed, then `hint: ...` if any."""
    if isinstance(error, Error):
        lines = [error.message]
    elif isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename is not None else ""
        lines = [f"{where}{error.strerror.lower()}"]
    else:
        lines = [f"{type(error).__name__}: {error}".removesuffix(": ")]
    lines[0] += "".join(f", {note}" for note in getattr(error, "__notes__", ()))
    if isinstance(error, Error) and error.hint:
        lines.append(f"hint: {error.hint}")
    return lines
