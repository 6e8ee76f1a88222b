"""Fields of a TOML table by their types, and the faults found in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from calib.errors import Fault


class Fields:
    """One table of a study file; every fault goes to a list that all its tables share."""

    def __init__(self, place: str, values: Mapping[str, Any], faults: list[Fault]) -> None:
        self.place = place
        self.values = values
        self.faults = faults
        self.known: set[str] = set()

    def fault(self, rule: str, value: str, remedy: str, field: str | None = None) -> None:
        """Note that a rule is broken."""
        self.faults.append(Fault(rule, f"{value} in {self.place}", remedy, column=field))

    def take(self, field: str) -> Any:
        """A field as it stands; None where it is absent."""
        self.known.add(field)
        return self.values.get(field)

    def text(
        self, field: str, default: str | None = None, *, among: Sequence[str] | None = None
    ) -> str:
        """A text; one of ``among`` if given. Without a default it must be there."""
        value = self.take(field)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or not value.strip():
            found = "none" if value is None else repr(value)
            self.fault(f"{field} is a text", found, f'write {field} = "…"', field)
            return ""
        self._known_words(field, [value], among)
        return value

    def texts(
        self, field: str, default: tuple[str, ...], *, among: Sequence[str] | None = None
    ) -> tuple[str, ...]:
        """A list of texts, each once; those of ``among`` if given."""
        value = self.take(field)
        if value is None:
            return default
        right = isinstance(value, list) and all(isinstance(one, str) and one for one in value)
        if not right or not value:
            self.fault(f"{field} is a list of texts", repr(value),
                       f'write {field} = ["…", "…"]', field)  # fmt: skip
            return default
        self._known_words(field, value, among)
        self.once(field, value)
        return tuple(value)

    def whole(self, field: str, default: int, *, least: int) -> int:
        """A whole number of at least ``least``."""
        value = self.take(field)
        if value is None:
            return default
        # bool is an int.
        if type(value) is not int or value < least:
            self.fault(f"{field} is a whole number from {least}", repr(value), "correct it", field)
            return default
        return value

    def wholes(self, field: str, default: tuple[int, ...], *, least: int) -> tuple[int, ...]:
        """A list of whole numbers of at least ``least``, each once."""
        value = self.take(field)
        if value is None:
            return default
        right = isinstance(value, list) and all(type(one) is int and one >= least for one in value)
        if not right or not value:
            self.fault(f"{field} is a list of whole numbers from {least}", repr(value),
                       f"write {field} = [{least}]", field)  # fmt: skip
            return default
        self.once(field, [str(one) for one in value])
        return tuple(value)

    def tables(self, field: str) -> list[Fields]:
        """A list of tables, ``[[field]]`` in TOML."""
        value = self.take(field)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            self.fault(f"{field} is a list of tables", repr(value), f"write [[{field}]]", field)
            return []
        return [
            Fields(f"{field} {number}", one, self.faults)
            for number, one in enumerate(value, start=1)
        ]

    def once(self, what: str, names: Sequence[str]) -> None:
        """Note names that stand twice."""
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            self.fault(f"each {what} is named once", ", ".join(map(repr, twice)),
                       "remove or rename the second")  # fmt: skip

    def finish(self) -> None:
        """Note fields that nobody asked for."""
        unknown = [name for name in self.values if name not in self.known]
        if unknown:
            self.fault("fields are " + ", ".join(sorted(self.known)),
                       ", ".join(map(repr, unknown)),
                       "correct the spelling or remove them")  # fmt: skip

    def _known_words(self, field: str, values: Sequence[str], among: Sequence[str] | None) -> None:
        unknown = [value for value in values if among is not None and value not in among]
        if unknown:
            self.fault(f"{field} is among {', '.join(among or ())}",
                       ", ".join(map(repr, unknown)), "use one of them", field)  # fmt: skip
