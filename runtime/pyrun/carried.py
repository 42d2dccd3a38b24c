"""Exceptions as text and back, for a caller in another process: kind, message, hint and whatever else they have."""

from __future__ import annotations

from lxcfs_py import errors
from pyrun import jsontext
from pyrun.channel import Failure

_KINDS: dict[str, type[Exception]] = {
    kind.__name__: kind
    for kind in (
        errors.Error,
        errors.UsageError,
        errors.ParseError,
        errors.SpecError,
        errors.NotFound,
        errors.Conflict,
        errors.Unsupported,
        Failure,
    )
}


def pack(error: BaseException) -> str:
    """What `unpack` makes an exception like it of; one that is no Error and no OSError is a Failure there."""
    told: dict[str, object] = {"kind": type(error).__name__, "attributes": vars(error)}
    if isinstance(error, OSError):
        name = None if error.filename is None else str(error.filename)
        told |= {"kind": "OSError", "arguments": (error.errno or 0, error.strerror or str(error), name)}
    elif not isinstance(error, errors.Error):
        told = {"kind": "Failure", "attributes": vars(Failure(errors.describe(error)[0]))}
    elif type(error).__name__ not in _KINDS:
        told["kind"] = "Failure"
    return jsontext.dumps(told)


def unpack(text: str) -> Exception:
    """The exception, to be raised."""
    told = jsontext.loads(text)
    attributes = told["attributes"]
    if told["kind"] == "OSError":
        number, why, name = told["arguments"]
        made: Exception = OSError(number, why) if name is None else OSError(number, why, name)
    else:
        kind = _KINDS[told["kind"]]
        made = kind.__new__(kind, attributes["message"])
    vars(made).update(attributes)
    return made
