"""`dataclasses` for what the supervisor loads, at a third of what that costs at the start.

The standard module imports inspect, ast, dis and tokenize, and compiles several functions for each
class: half of the time that it takes to import the supervisor. Here all classes share the code of
four methods. The type checker sees the standard module, of which this is the part that we need:
`dataclass(frozen=…, slots=…)` without inheritance, `field(default_factory=…)`, `replace`, `asdict`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dataclasses import asdict, dataclass, field, replace
else:

    class _Missing:
        """The default of a field that has none."""

    class field:
        """A default that is made anew for each record."""

        def __init__(self, *, default_factory):
            self.default_factory = default_factory

    def dataclass(cls=None, *, frozen=False, slots=False):
        """Give a class its methods, from its annotations."""
        if cls is None:
            return lambda cls: dataclass(cls, frozen=frozen, slots=slots)
        names = tuple(cls.__annotations__)
        defaults = {name: cls.__dict__[name] for name in names if name in cls.__dict__}
        if slots:
            unwanted = {"__dict__", "__weakref__", *names}
            body = {name: value for name, value in cls.__dict__.items() if name not in unwanted}
            cls = type(cls.__name__, cls.__bases__, {**body, "__slots__": names})
        cls.__match_args__ = names
        cls._defaults = defaults
        cls.__init__ = _init
        cls.__repr__ = _repr
        cls.__eq__ = _eq
        cls.__hash__ = _hash if frozen else None
        if frozen:
            cls.__setattr__ = cls.__delattr__ = _refuse
        return cls

    def replace(record, **changes):
        """A copy with other values in those fields."""
        return type(record)(**{**_values(record), **changes})

    def asdict(record):
        """Its fields by name. Records in them stay what they are."""
        return _values(record)

    def _values(record):
        return {name: getattr(record, name) for name in record.__match_args__}

    def _init(self, *values, **named):
        names = self.__match_args__
        if len(values) > len(names):
            raise TypeError(f"{type(self).__name__}: {len(values)} values for {len(names)} fields")
        put = object.__setattr__
        for name, value in zip(names, values, strict=False):
            if name in named:
                raise TypeError(f"{type(self).__name__}: two values for {name}")
            put(self, name, value)
        for name in names[len(values) :]:
            value = named.pop(name, _Missing)
            if value is _Missing:
                value = self._defaults.get(name, _Missing)
                if value is _Missing:
                    raise TypeError(f"{type(self).__name__}: no value for {name}")
                if isinstance(value, field):
                    value = value.default_factory()
            put(self, name, value)
        if named:
            raise TypeError(f"{type(self).__name__}: no field {next(iter(named))}")

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
