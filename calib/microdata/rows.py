"""Questions, groups and options as rows of the human table, a question at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple
from typing import Final

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from calib.errors import DataError
from calib.importers.human_rows import HUMAN_COLUMNS
from calib.microdata.design_errors import Design, standard_errors
from calib.microdata.groups import Attribute
from calib.microdata.items import Item
from calib.microdata.shares import Cells, join, tabulate
from calib.microdata.weights import faults_of_missing
from calib.survey import Question

COLUMNS: Final = (*HUMAN_COLUMNS, "n_respondents", "sum_weights")
"""Of the human table; ``se`` follows where the sample's design is known."""
SMALL_CELL: Final = 30
"""Cells with fewer respondents, or fewer effective ones, are counted and warned about."""


class Rows:
    """The human table as it grows.

    ``n_human`` is Kish's effective size of a cell's answers, ``p_human`` the weighted share
    of an option among them; don't-know and refusals count as answers here, as everywhere in
    a table, and are dropped with their share of n when a calibrator reads it.
    """

    def __init__(
        self,
        attributes: Sequence[Attribute],
        design: Design | None,
        *,
        leave_out_unweighted: bool,
    ) -> None:
        self.counts: Counter[str] = Counter(
            dict.fromkeys(
                (
                    "cells", "rows", "answers", "answers_dont_know", "answers_refused",
                    "answers_other", "no_answer_empty", "no_answer_by_code",
                    "answers_without_weight_left_out", "answers_with_zero_weight",
                    "cells_without_answer", "cells_without_weight",
                    "cells_with_few_respondents", "cells_with_small_effective_size",
                ),
                0,
            )
        )  # fmt: skip
        self._attributes = attributes
        self._joints = join(
            [one.group_of_row for one in attributes], [len(one.groups) for one in attributes]
        )
        self._design = design
        self._leave_out = leave_out_unweighted
        self._questions: list[Question] = []
        self._parts: list[dict[str, np.ndarray]] = []
        self._unweighted: dict[str, tuple[Bool[np.ndarray, " row"], list[str]]] = {}

    def add(
        self,
        item: Item,
        codes: Int[np.ndarray, " row"],
        weight_name: str,
        weight: Float[np.ndarray, " row"],
    ) -> None:
        """Tabulate one question over all attributes."""
        option = np.append(item.option_of_code, -1).astype(np.int16)[codes]
        missing = np.isnan(weight)
        if missing.any():
            if not self._leave_out:
                self._note_unweighted(item, option, weight_name, missing)
            self.counts["answers_without_weight_left_out"] += int((missing & (option >= 0)).sum())
            option = np.where(missing, np.int16(-1), option)
            weight = np.where(missing, 0.0, weight)
        self.counts["no_answer_empty"] += int((codes < 0).sum())
        self.counts["no_answer_by_code"] += int(((codes >= 0) & (option < 0) & ~missing).sum())
        self.counts["answers_with_zero_weight"] += int(((option >= 0) & (weight == 0)).sum())
        chosen = np.bincount(option.astype(np.int32) + 1)[1:]
        for one, often in zip(item.question.options, chosen, strict=False):
            name = "answers" if one.kind == "substantive" else f"answers_{one.kind}"
            self.counts[name] += int(often)
        n_options = len(item.question.options)
        self._questions.append(item.question)
        tabulated = tabulate(option, n_options, self._joints, weight)
        first = 0
        for attribute, cells in zip(self._attributes, tabulated, strict=True):
            errors = None
            if self._design is not None:
                group = attribute.group_of_row
                errors = standard_errors(option, group, weight, cells, self._design)
            self._keep(first, cells, errors)
            first += len(attribute.groups)

    def check(self) -> None:
        """``DataError`` where somebody answered and has no weight."""
        faults = [
            faults_of_missing(weight, rows, items)
            for weight, (rows, items) in self._unweighted.items()
        ]
        if faults:
            raise DataError(faults)

    def frame(self) -> pd.DataFrame:
        """All rows so far: ``COLUMNS``, and ``se`` with a design."""
        columns = {
            name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]
        }
        # Texts are looked up once, at the end: a table has many rows and few questions.
        questions = pd.DataFrame(
            [(one.survey, one.id, one.text, one.scale) for one in self._questions],
            columns=["survey", "question_id", "question", "scale"],
        )
        options = pd.DataFrame(
            [option for one in self._questions for option in map(astuple, one.options)],
            columns=["option_index", "option", "option_value", "option_kind"],
        ).astype({"option_value": float})
        groups = pd.DataFrame(
            [(one.name, group) for one in self._attributes for group in one.groups],
            columns=["attribute", "group"],
        )
        first = np.cumsum([0, *(len(one.options) for one in self._questions)])
        question, option, group = (columns.pop(name) for name in ("question", "option", "group"))
        parts = [
            questions.iloc[question],
            options.iloc[first[question] + option],
            groups.iloc[group],
            pd.DataFrame(columns),
        ]
        return pd.concat([part.reset_index(drop=True) for part in parts], axis=1)

    def _note_unweighted(
        self, item: Item, option: np.ndarray, weight: str, missing: np.ndarray
    ) -> None:
        rows, items = self._unweighted.setdefault(weight, (np.zeros(len(option), dtype=bool), []))
        bad = missing & (option >= 0)
        if bad.any():
            rows |= bad
            items.append(item.question.id)

    def _keep(
        self, first: int, cells: Cells, errors: Float[np.ndarray, "group option"] | None
    ) -> None:
        """Note the last question's cells; ``first`` is the attribute's first group."""
        self.counts["cells_without_answer"] += int((cells.n == 0).sum())
        self.counts["cells_without_weight"] += int(((cells.n > 0) & (cells.sum_w == 0)).sum())
        kept = np.flatnonzero(cells.sum_w > 0)
        n_options, n_eff = cells.mass.shape[1], cells.n_eff[kept]
        self.counts["cells"] += len(kept)
        self.counts["rows"] += len(kept) * n_options
        self.counts["cells_with_few_respondents"] += int((cells.n[kept] < SMALL_CELL).sum())
        self.counts["cells_with_small_effective_size"] += int((n_eff < SMALL_CELL).sum())
        part = {
            "question": np.full(len(kept) * n_options, len(self._questions) - 1),
            "option": np.tile(np.arange(n_options), len(kept)),
            "group": np.repeat(first + kept, n_options),
            "n_human": np.repeat(n_eff, n_options),
            "p_human": cells.shares[kept].ravel(),
            "n_respondents": np.repeat(cells.n[kept], n_options),
            "sum_weights": np.repeat(cells.sum_w[kept], n_options),
        }
        if errors is not None:
            part["se"] = errors[kept].ravel()
        self._parts.append(part)
