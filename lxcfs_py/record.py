"""`NamedTuple` for programs that start often: what a class costs is what counts there.

`typing.NamedTuple` compiles each class from a text of its own, 0.2 ms, and `typing` is another 4 ms: a third of what a
short call of pyrun took. Here a class is made of what the interpreter has. To a type checker it is `typing`'s.
"""

from __future__ import annotations

from _collections import _tuplegetter  # type: ignore[import-not-found]  # what collections.namedtuple has fields of

TYPE_CHECKING = False
"""For who would import `typing` for that alone."""

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
else:

    class _Maker(type):
        """Makes fields of a class's annotations."""

        def __new__(cls, name, bases, namespace):
            fields = tuple(namespace.get("__annotations__", ()))
            namespace["__slots__"] = ()
            if fields:
                namespace["_fields"] = namespace["__match_args__"] = fields
                namespace["_field_defaults"] = {each: namespace[each] for each in fields if each in namespace}
                for place, each in enumerate(fields):
                    namespace[each] = _tuplegetter(place, None)
            return type.__new__(cls, name, bases, namespace)

    class NamedTuple(tuple, metaclass=_Maker):
        """As `typing.NamedTuple`: a class's annotations are its fields, what they are given are defaults."""

        _fields = ()
        _field_defaults = {}  # noqa: RUF012  each class has its own

        def __new__(cls, *values, **named):
            if named or len(values) != len(cls._fields):
                values = _filled(cls, values, named)
            return tuple.__new__(cls, values)

        def __getnewargs__(self):
            return tuple(self)

        def __repr__(self):
            told = (f"{name}={value!r}" for name, value in zip(self._fields, self, strict=True))
            return f"{type(self).__name__}({', '.join(told)})"

        @classmethod
        def _make(cls, values):
            return cls(*values)

        def _replace(self, **named):
            made = self._make(map(named.pop, self._fields, self))
            if named:
                raise ValueError(f"Got unexpected field names: {list(named)!r}")
            return made

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))


def _filled(cls: type, values: tuple[object, ...], named: dict[str, object]) -> list[object]:
    """All values in the order of the fields."""
    fields: tuple[str, ...] = cls._fields  # type: ignore[attr-defined]
    known = cls._field_defaults | dict(zip(fields, values, strict=False)) | named  # type: ignore[attr-defined]
    twice = named.keys() & fields[: len(values)]
    wrong = [*list(twice), *(named.keys() - set(fields)), *(each for each in fields if each not in known)]
    if wrong or len(values) > len(fields):
        raise TypeError(f"{cls.__name__}: {', '.join(wrong) or len(values)}: missing, unknown, twice or too many")
    return [known[each] for each in fields]
