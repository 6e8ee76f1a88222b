"""Which columns of a survey's file are items, groups, weights and design."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
    """Whether each item has to be a question; otherwise what cannot be one is left out."""
    groups: tuple[str, ...]
    cut: tuple[str, ...]
    """Group variables that are numbers to be cut."""
    weights: tuple[str, ...]
    wave: str | None
    strata: str | None
    psu: str | None
    absent: Mapping[str, str] = field(default_factory=dict)
    """Items and groups of the coding that are left out from the first, with the reason."""

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
    groups: Sequence[str] | None,
    items: Sequence[str] | None,
    weight: str | None,
    strata: str | None,
    psu: str | None,
) -> tuple[Plan, list[Fault]]:
    """Who is what, and the faults: columns that are not there, names said twice.

    Items and groups are those of the coding where the caller names none. What the coding
    says that a file may lack is then left out with the reason, and so is an item that also
    divides the respondents.
    """
    absent = {
        name: "not in the file"
        for name in [*(coding.items or () if items is None else ()),
                     *(coding.groups if groups is None else ())]
        if name in coding.optional and name not in source.columns
    }  # fmt: skip
    own_groups = coding.groups if groups is None else tuple(groups)
    groups = tuple(name for name in own_groups if name not in absent)
    if items is None and coding.items is not None:
        absent |= dict.fromkeys(set(groups) & set(coding.items), "divides the respondents")
    own_items = coding.items if items is None else tuple(items)
    weights = weight_columns(weight, coding)
    design = [one for one in (strata, psu) if one]
    wave = [coding.weight_by] if coding.weight_by else []
    used = {*groups, *weights, *design, *wave}
    others = [name for name in source.columns if name not in used]
    plan = Plan(
        items=tuple(others if own_items is None else (x for x in own_items if x not in absent)),
        named=items is not None or (coding.items is not None and not coding.optional),
        groups=groups,
        cut=tuple(name for name in groups if coding.of(name).cut),
        weights=weights,
        wave=coding.weight_by,
        strata=strata,
        psu=psu,
        absent=absent,
    )
    faults = []
    required = [name for name in coding.variables if name not in coding.optional]
    for name in dict.fromkeys([*plan.items, *used, *required]):
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
