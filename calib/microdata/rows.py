"""Questions, groups and options as rows of the human table, a question at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

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
        self._parts: list[dict[str, Any]] = []
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
        tabulated = tabulate(option, n_options, self._joints, weight)
        for attribute, cells in zip(self._attributes, tabulated, strict=True):
            errors = None
            if self._design is not None:
                group = attribute.group_of_row
                errors = standard_errors(option, group, weight, cells, self._design)
            self._keep(item, attribute, cells, errors)

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
        if not self._parts:
            names = [*COLUMNS, *(["se"] if self._design else [])]
            return pd.DataFrame(columns=names)
        columns = {
            name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]
        }
        frame = pd.DataFrame(columns)
        texts = [name for name in frame if frame[name].dtype == object]
        return frame.astype(dict.fromkeys(texts, "str"))

    def _note_unweighted(
        self, item: Item, option: np.ndarray, weight: str, missing: np.ndarray
    ) -> None:
        rows, items = self._unweighted.setdefault(weight, (np.zeros(len(option), dtype=bool), []))
        bad = missing & (option >= 0)
        if bad.any():
            rows |= bad
            items.append(item.question.id)

    def _keep(
        self,
        item: Item,
        attribute: Attribute,
        cells: Cells,
        errors: Float[np.ndarray, "group option"] | None,
    ) -> None:
        self.counts["cells_without_answer"] += int((cells.n == 0).sum())
        self.counts["cells_without_weight"] += int(((cells.n > 0) & (cells.sum_w == 0)).sum())
        kept = np.flatnonzero(cells.sum_w > 0)
        question, options = item.question, item.question.options
        n_eff = cells.n_eff[kept]
        self.counts["cells"] += len(kept)
        self.counts["rows"] += len(kept) * len(options)
        self.counts["cells_with_few_respondents"] += int((cells.n[kept] < SMALL_CELL).sum())
        self.counts["cells_with_small_effective_size"] += int((n_eff < SMALL_CELL).sum())

        def whole(value: object) -> np.ndarray:
            return np.full(len(kept) * len(options), value, dtype=object)

        def of_option(values: Sequence[Any], kind: Any = object) -> np.ndarray:
            return np.tile(np.array(values, dtype=kind), len(kept))

        def of_group(values: np.ndarray) -> np.ndarray:
            return np.repeat(values, len(options))

        names = np.array(attribute.groups, dtype=object)
        part = {
            "survey": whole(question.survey),
            "question_id": whole(question.id),
            "question": whole(question.text),
            "scale": whole(question.scale),
            "option_index": of_option([one.index for one in options], np.int64),
            "option": of_option([one.label for one in options]),
            "option_value": of_option([one.value for one in options], float),
            "option_kind": of_option([one.kind for one in options]),
            "attribute": whole(attribute.name),
            "group": of_group(names[kept]),
            "n_human": of_group(n_eff),
            "p_human": cells.shares[kept].ravel(),
            "n_respondents": of_group(cells.n[kept]),
            "sum_weights": of_group(cells.sum_w[kept]),
        }
        if errors is not None:
            part["se"] = errors[kept].ravel()
        self._parts.append(part)
