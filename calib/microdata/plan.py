"""Which columns of a survey's file are items, groups, weights and design."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from calib.errors import Fault
from calib.microdata.coding import Coding
from calib.microdata.read import Source
from calib.microdata.weights import weight_columns


@dataclass(frozen=True)
class Plan:
    """The columns by what they are used for."""

    items: tuple[str, ...]
    named: bool
    """Whether the user named the items; otherwise they are all other columns."""
    groups: tuple[str, ...]
    cut: tuple[str, ...]
    """Group variables that are numbers to be cut."""
    weights: tuple[str, ...]
    wave: str | None
    strata: str | None
    psu: str | None

    @property
    def coded(self) -> tuple[str, ...]:
        """Columns whose values are few."""
        whole = [one for one in self.groups if one not in self.cut]
        wave = [self.wave] if self.wave else []
        return tuple(dict.fromkeys([*self.items, *whole, *wave]))

    @property
    def kept(self) -> tuple[str, ...]:
        """Columns that are needed as they are."""
        design = [one for one in (self.strata, self.psu) if one]
        return tuple(dict.fromkeys([*self.weights, *self.cut, *design]))


def plan_columns(
    source: Source,
    coding: Coding,
    *,
    groups: Sequence[str],
    items: Sequence[str] | None,
    weight: str | None,
    strata: str | None,
    psu: str | None,
) -> tuple[Plan, list[Fault]]:
    """Who is what, and the faults: columns that are not there, names said twice."""
    weights = weight_columns(weight, coding)
    design = [one for one in (strata, psu) if one]
    wave = [coding.weight_by] if coding.weight_by else []
    used = {*groups, *weights, *design, *wave}
    others = [name for name in source.columns if name not in used]
    plan = Plan(
        items=tuple(others if items is None else items),
        named=items is not None,
        groups=tuple(groups),
        cut=tuple(name for name in groups if coding.of(name).cut),
        weights=weights,
        wave=coding.weight_by,
        strata=strata,
        psu=psu,
    )
    faults = []
    for name in dict.fromkeys([*plan.items, *used, *coding.variables]):
        if name not in source.columns:
            near = get_close_matches(name, source.columns, 3, 0.6)
            faults.append(
                Fault(
                    "the variables that are named are columns of the file",
                    f"no column {name} among {len(source.columns)}",
                    f"did you mean {' or '.join(near)}?" if near else "check the name",
                    name,
                )
            )
    attributes = [coding.of(name).attribute or name for name in groups]
    for attribute in dict.fromkeys(attributes):
        if attributes.count(attribute) > 1 or attribute == "all":
            faults.append(
                Fault(
                    "each attribute has a name of its own, and all is everybody's",
                    f"{attribute} for {', '.join(groups)}",
                    "rename one with attribute in the coding",
                    attribute,
                )
            )
    if weight is not None and coding.weight_by is not None:
        faults.append(
            Fault(
                "the weight is said once",
                f"--weight {weight} and [weights] by {coding.weight_by}",
                "leave one of them out",
            )
        )
    return plan, faults
