"""A variable as groups of respondents: by its labels, or by cutting numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from calib.errors import Fault
from calib.microdata.coding import Coding, Variable
from calib.microdata.encode import MAX_VALUES, Encoded
from calib.microdata.faults import rows_of
from calib.microdata.kinds import Patterns, kind_of
from calib.microdata.meanings import NOT_A_NUMBER, Meanings
from calib.microdata.read import Column, code_of


@dataclass(frozen=True, eq=False)
class Attribute:
    """How respondents are divided by one variable."""

    name: str
    groups: tuple[str, ...]
    group_of_row: Int[np.ndarray, " row"]
    """Place in ``groups``, −1 where a respondent belongs to none."""
    from_codes: bool = False
    """Whether a group is named by its code, for want of a label."""


def everybody(n_rows: int) -> Attribute:
    """All respondents as one group, ``all: all``."""
    return Attribute("all", ("all",), np.zeros(n_rows, dtype=np.int16))


def labelled_groups(
    name: str, found: Meanings, encoded: Encoded, variable: Variable
) -> Attribute | Fault:
    """One group a label; who gave no answer belongs to none."""
    values = encoded.dictionaries[name]
    if values is None or found.unlabelled:
        what = f"more than {MAX_VALUES} values" if values is None else "codes without any label"
        return Fault(
            "a group variable has few, labelled values",
            what,
            f'give cut points, labels or unlabelled = "codes" under [variables.{name}]',
            name,
        )
    answers = found.answers
    if found.column.ordered:
        place = {one: at for at, one in enumerate(found.column.ordered)}
        answers = tuple(sorted(answers, key=lambda one: place.get(str(one.code), len(place))))
    elif found.numeric:
        answers = tuple(sorted(answers, key=lambda one: float(one.code)))
    else:
        answers = tuple(sorted(answers, key=lambda one: one.label))
    groups = tuple(dict.fromkeys(one.label for one in answers if one.written))
    number = {label: place for place, label in enumerate(groups)}
    of_value = {value: number[one.label] for one in answers for value in one.written}
    of_code = np.array([*(of_value.get(value, -1) for value in values), -1], dtype=np.int16)
    from_codes = any(one.from_code for one in answers)
    return Attribute(variable.attribute or name, groups, of_code[encoded.codes(name)], from_codes)


def cut_groups(
    column: Column, series: pd.Series, coding: Coding, patterns: Patterns
) -> Attribute | Fault:
    """Intervals of a number: the lower end belongs to an interval, the upper one does not."""
    variable = coding.of(column.name)
    numbers = as_numbers(column, series)
    if isinstance(numbers, Fault):
        return numbers
    no_answer: list[float] = [
        code
        for code, label in column.labels.items()
        if isinstance(code, float) and kind_of(label, patterns) != "substantive"
    ]
    said = {**dict.fromkeys(coding.missing, "missing"), **variable.kinds}
    no_answer += [code for code, kind in said.items()
                  if isinstance(code, float) and kind != "substantive"]  # fmt: skip
    declared = [code for code in np.unique(numbers[np.isfinite(numbers)]).tolist()
                if column.is_missing(code)]  # fmt: skip
    numbers = np.where(np.isin(numbers, [*no_answer, *declared]), np.nan, numbers)
    place = np.digitize(numbers, variable.cut) - 1
    place = np.where(np.isnan(numbers), -1, place).astype(np.int16)
    names = variable.names or _names(variable.cut)
    return Attribute(variable.attribute or column.name, names, place)


def as_numbers(column: Column, series: pd.Series) -> Float[np.ndarray, " row"] | Fault:
    """A column as floats, NaN where it is empty; a fault where texts are no numbers."""
    if pd.api.types.is_numeric_dtype(series):
        numbers: np.ndarray = series.to_numpy(dtype=float, na_value=np.nan)
        return numbers
    texts = series.astype(object).where(series.notna(), "")
    empty = texts.astype(str).str.strip().isin(["", *NOT_A_NUMBER])
    if column.stata:
        empty |= texts.map(lambda one: isinstance(code_of(one, True), str))
    found = pd.to_numeric(texts.mask(empty, np.nan), errors="coerce").astype(float)
    bad = (found.isna() & ~empty).to_numpy()
    if bad.any():
        return Fault(
            "the column holds numbers",
            repr(texts[bad].iloc[0]),
            "name another column, or correct the cells",
            column.name,
            rows_of(bad),
        )
    return found.to_numpy()


def _names(cut: Sequence[float]) -> tuple[str, ...]:
    """``18-29``, …, ``65+`` of whole numbers; ``[0.5, 1)`` otherwise.

    >>> _names([18.0, 30.0, 65.0])
    ('18-29', '30-64', '65+')
    """
    whole = all(float(one).is_integer() for one in cut)
    below = (
        (f"{low:g}-{high - 1:g}" if high - low > 1 else f"{low:g}") if whole
        else f"[{low:g}, {high:g})"
        for low, high in pairwise(cut)
    )  # fmt: skip
    return (*below, f"{cut[-1]:g}+")
