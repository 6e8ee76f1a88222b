"""The weight of each respondent: one column, one a wave, or one a question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from calib.errors import Fault
from calib.microdata.coding import Coding, as_code
from calib.microdata.encode import Encoded
from calib.microdata.faults import listed, rows_of
from calib.microdata.groups import as_numbers
from calib.microdata.meanings import rows_with
from calib.microdata.read import Source, code_of

Weight = Float[np.ndarray, " row"]
BY_WAVE = "a weight a wave"
UNWEIGHTED = ""


@dataclass(frozen=True)
class Weights:
    """The columns of weights of a survey, checked; NaN where a respondent has none."""

    default: str
    """Of questions that name none: a column, ``BY_WAVE`` or ``UNWEIGHTED``."""
    columns: Mapping[str, Weight]

    def of(self, name: str, coding: Coding) -> tuple[str, Weight]:
        """The weight of a question's answers, and what it is called."""
        weight = coding.of(name).weight or self.default
        return weight, self.columns[weight]


def weight_columns(weight: str | None, coding: Coding) -> tuple[str, ...]:
    """The columns that hold weights."""
    own = [one.weight for one in coding.variables.values()]
    named = [weight, *coding.weight_of.values(), *own]
    return tuple(dict.fromkeys(one for one in named if one))


def settle_weights(
    source: Source, encoded: Encoded, weight: str | None, coding: Coding
) -> tuple[Weights, list[Fault]]:
    """All columns of weights, and what is wrong with them.

    Weights are finite and not negative, and not all zero. A weight may be missing as long
    as the respondent's answers are not counted with it (see ``faults_of_missing``).
    """
    columns: dict[str, Weight] = {UNWEIGHTED: np.ones(encoded.n_rows)}
    faults: list[Fault] = []
    for name in weight_columns(weight, coding):
        numbers = as_numbers(source.columns[name], encoded.kept[name])
        if isinstance(numbers, Fault):
            faults.append(numbers)
            continue
        columns[name] = numbers
        faults += _faults(name, numbers)
    default = weight or UNWEIGHTED
    if coding.weight_by is not None and not faults:
        default = BY_WAVE
        columns[BY_WAVE], more = _by_wave(encoded, columns, coding)
        faults += more
    return Weights(default, columns), faults


def faults_of_missing(
    weight: str, unweighted: Bool[np.ndarray, " row"], items: Sequence[str]
) -> Fault:
    """Respondents who answered some of the items and have no weight."""
    return Fault(
        "whoever answered has a weight",
        f"{int(unweighted.sum())} respondents without {weight} who answered {listed(items)}",
        "correct the column, name another one, or leave them out with [weights] missing = "
        '"leave_out" in the coding',
        weight,
        rows_of(unweighted),
    )


def _faults(name: str, numbers: Weight) -> list[Fault]:
    faults = []
    for bad, rule in (
        (numbers < 0, "a weight is not negative"),
        (np.isinf(numbers), "a weight is finite"),
    ):
        if bad.any():
            value = f"{numbers[bad][0]:g}, {int(bad.sum())} such weights"
            faults.append(Fault(rule, value, "correct the column", name, rows_of(bad)))
    if not (numbers > 0).any():
        faults.append(
            Fault(
                "some respondent has a positive weight",
                "none" if np.isnan(numbers).all() else "zeros only",
                "name the column that holds the weights",
                name,
            )
        )
    return faults


def _by_wave(
    encoded: Encoded, columns: Mapping[str, Weight], coding: Coding
) -> tuple[Weight, list[Fault]]:
    by = coding.weight_by or ""
    values, codes = encoded.dictionaries[by] or (), encoded.codes(by)
    of_wave = {str(code): name for code, name in coding.weight_of.items()}
    result = np.full(encoded.n_rows, np.nan)
    unknown = [one for one in values if _wave(one) not in of_wave]
    for place, value in enumerate(values):
        if _wave(value) in of_wave:
            mine = codes == place
            result[mine] = columns[of_wave[_wave(value)]][mine]
    if not unknown:
        return result, []
    fault = Fault(
        f"[weights] use names a weight for each value of {by}",
        f"none for {listed(unknown)}",
        "add the values that are missing",
        by,
        rows_with(encoded, by, unknown),
    )
    return result, [fault]


def _wave(value: object) -> str:
    """A wave as the coding writes it: whole numbers alike, whatever the file's type."""
    return str(as_code(code_of(value, False) if not isinstance(value, float) else f"{value:.12g}"))
