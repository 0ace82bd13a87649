"""A small replacement for `dataclasses` that keeps the start of the supervisor fast.

The standard module imports inspect, ast, dis and tokenize, and compiles several functions for each
class, which took half of the time to import the supervisor. Here all classes share four methods.
The type checker sees the standard module, of which this is the part that we use:
`dataclass(frozen=…, slots=…)` without inheritance, `field(default_factory=…)`, `replace`, `asdict`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dataclasses import asdict, dataclass, field, replace
else:

    class field:
        """A default that is created for each record."""

        def __init__(self, *, default_factory):
            self.default_factory = default_factory

    def dataclass(cls=None, *, frozen=False, slots=False):
        """Add the methods of a record to a class, by its annotations."""
        if cls is None:
            return lambda cls: dataclass(cls, frozen=frozen, slots=slots)
        names = tuple(cls.__annotations__)
        defaults = {name: cls.__dict__[name] for name in names if name in cls.__dict__}
        if slots:
            unwanted = {"__dict__", "__weakref__", *names}
            body = {name: value for name, value in cls.__dict__.items() if name not in unwanted}
            cls = type(cls.__name__, cls.__bases__, {**body, "__slots__": names})
        cls.__match_args__ = names
        cls._names = frozenset(names)
        cls._defaults = defaults
        cls._factories = [name for name in defaults if isinstance(defaults[name], field)]
        cls.__init__ = _init_slots if slots else _init
        cls.__repr__ = _repr
        cls.__eq__ = _eq
        cls.__hash__ = _hash if frozen else None
        if frozen:
            cls.__setattr__ = cls.__delattr__ = _refuse
        return cls

    def replace(record, **changes):
        """A copy of the record with other values in these fields."""
        return type(record)(*{**_values(record), **changes}.values())

    def asdict(record):
        """The fields of the record by name. Records in them are not converted."""
        return _values(record)

    def _values(record):
        return {name: getattr(record, name) for name in record.__match_args__}

    def _init(self, *values, **named):
        if named or len(values) != len(self.__match_args__):
            values = _complete(self, values, named)
        self.__dict__.update(zip(self.__match_args__, values, strict=True))

    def _init_slots(self, *values, **named):
        if named or len(values) != len(self.__match_args__):
            values = _complete(self, values, named)
        put = object.__setattr__
        for name, value in zip(self.__match_args__, values, strict=True):
            put(self, name, value)

    def _complete(self, values, named):
        """The values of all fields, in order. Raises TypeError."""
        names = self.__match_args__
        found = {**self._defaults, **dict(zip(names, values, strict=False)), **named}
        known = self._names.issuperset(found)
        twice = not named.keys().isdisjoint(names[: len(values)])
        if not known or len(found) < len(names) or len(values) > len(names) or twice:
            raise TypeError(f"{type(self).__name__}({', '.join(names)}): {values}, {named}")
        for name in self._factories:
            if isinstance(found[name], field):
                found[name] = found[name].default_factory()
        return [found[name] for name in names]

    def _repr(self):
        fields = ", ".join(f"{name}={value!r}" for name, value in _values(self).items())
        return f"{type(self).__qualname__}({fields})"

    def _eq(self, other):
        if other.__class__ is not self.__class__:
            return NotImplemented
        return _values(self) == _values(other)

    def _hash(self):
        return hash(tuple(_values(self).values()))

    def _refuse(self, name, _value=None):
        raise AttributeError(f"{type(self).__name__}.{name} cannot be changed")


__all__ = ("asdict", "dataclass", "field", "replace")
