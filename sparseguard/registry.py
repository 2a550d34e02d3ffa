"""What a name stands for: the registries of defenses and attacks, whose fields are their options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

from .checks import near, one_of

T = TypeVar("T")
_made: dict[tuple[type, str], Any] = {}
"""What was made, which never changes, by class and options."""
_MOST = 10_000
_PLAIN = (str, int, float, bool, tuple, type(None))
"""What :func:`repr` tells apart."""


@dataclass(frozen=True)
class Registry(Generic[T]):
    """Frozen dataclasses by name.

    Args:
        kind: what they are, for error messages.
        members: in their order.
    """

    kind: str
    members: dict[str, type[T]]

    def check(self, name: Any) -> type[T]:
        """The class of that name, or a ``ValueError`` with the list of what is allowed."""
        return self.members[one_of(self.kind, name, self.members)]

    def options(self, name: str) -> list[str]:
        """Names of the options that it takes."""
        return [field.name for field in fields(self.check(name))]  # type: ignore[arg-type]

    def make(self, name: str, options: Mapping[str, Any]) -> T:
        """One of that name, with its options; the same again for the same ones, since plans have very many alike.

        Raises:
            ValueError: an unknown name, an option that it does not have, or a value out of range.
        """
        made = _made.get((self.check(name), repr(options)))
        if made is not None:
            return made  # type: ignore[no-any-return]
        allowed = self.options(name)
        for option in options:
            if option not in allowed:
                named = f"its options are {', '.join(allowed)}" if allowed else "it has none"
                raise ValueError(f"{self.kind} {name!r} has no option {option!r}; {named}{near(option, allowed)}")
        one = self.members[name](**options)
        if all(isinstance(value, _PLAIN) for value in options.values()):
            if len(_made) >= _MOST:
                _made.clear()
            _made[self.members[name], repr(options)] = one
        return one

    def spelled(self, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options that differ from the defaults, in one spelling each: 1.0 and 1 are the same, lists are tuples.

        Raises:
            ValueError: as :meth:`make`.
        """
        built, default = vars(self.make(name, options)), vars(self.make(name, {}))
        changed = {key: value for key, value in built.items() if value != default[key]}
        return {
            key: float(value) if isinstance(default[key], float) and type(value) is int else value
            for key, value in changed.items()
        }


def label(name: str, options: Mapping[Any, Any]) -> str:
    """A name with its options, for tables.

    >>> label("sparse_guard", {"lam": 0.5, "tau": 1000.0})
    'sparse_guard lam=0.5 tau=1000'
    """

    def text(value: Any) -> str:  # 1.0, but 1000
        if isinstance(value, tuple) and value and isinstance(value[0], str):
            return "+".join(value)
        return f"{value:.0f}" if isinstance(value, float) and value >= 10 and value.is_integer() else str(value)

    return " ".join([name, *(f"{key}={text(value)}" for key, value in options.items())])
