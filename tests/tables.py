"""Small paired tables written by hand, for the tests of reading, checking and pairing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from calib.table import COLUMNS

HUMAN = {
    ("q1", "Democrat"): (0.5, 0.3, 0.1, 0.1),
    ("q1", "Republican"): (0.2, 0.2, 0.6, 0.0),
    ("q2", "Democrat"): (0.6, 0.4),
    ("q2", "Republican"): (0.25, 0.75),
    ("q3", "Democrat"): (0.2, 0.3, 0.5),
    ("q3", "Republican"): (0.4, 0.4, 0.2),
}
LLM = {
    ("q1", "Democrat"): (0.7, 0.1, 0.0, 0.2),
    ("q1", "Republican"): (0.1, 0.3, 0.6, 0.0),
    ("q2", "Democrat"): (0.9, 0.1),
    ("q2", "Republican"): (0.05, 0.95),
    ("q3", "Democrat"): (0.1, 0.1, 0.8),
    ("q3", "Republican"): (1.0, 0.0, 0.0),
}
SCALES = {"q1": "ordinal", "q2": "binary", "q3": "nominal"}
# The ordinal scale has a gap, and ends with a refusal that has no code.
VALUES = {"q1": (1.0, 2.0, 4.0, None), "q2": (0.0, 1.0), "q3": (None, None, None)}
LABELS = {
    "q1": ("good", "neither", "bad", "Refused"),
    "q2": ("no", "yes"),
    "q3": ("red", "green", "blue"),
}


def cell(
    question_id: str,
    group: str,
    human: Sequence[float | None],
    llm: Sequence[float | None],
    *,
    model: str = "model-a",
    outcome: str = "answered",
    n: float | None = 100.0,
) -> list[dict[str, object]]:
    """The table rows of one group's answers to one of the three questions."""
    return [
        {
            "survey": "toy",
            "question_id": question_id,
            "question": f"What of {question_id}?",
            "scale": SCALES[question_id],
            "option_index": place,
            "option": LABELS[question_id][place],
            "option_value": VALUES[question_id][place],
            "option_kind": "refused" if LABELS[question_id][place] == "Refused" else "substantive",
            "attribute": "POLPARTY",
            "group": group,
            "n_human": n,
            "p_human": p_human,
            "model": model,
            "elicitation": "verbalized",
            "prompt": "sd",
            "outcome": outcome,
            "p_llm": p_llm,
        }
        for place, (p_human, p_llm) in enumerate(zip(human, llm, strict=True))
    ]


def frame_of(cells: Sequence[list[dict[str, object]]]) -> pd.DataFrame:
    """Cells as one frame with the table's columns and types."""
    frame = pd.DataFrame([row for rows in cells for row in rows], columns=list(COLUMNS))
    numbers = ["option_value", "n_human", "p_human", "p_llm"]
    return frame.astype(dict.fromkeys(numbers, float))


def toy_table(models: Sequence[str] = ("model-a",)) -> pd.DataFrame:
    """Three questions (ordinal with a refusal, binary, nominal) by two groups, all answered."""
    return frame_of(
        [
            cell(question_id, group, human, LLM[question_id, group], model=model)
            for model in models
            for (question_id, group), human in HUMAN.items()
        ]
    )


def rows_where(frame: pd.DataFrame, values: Mapping[str, object]) -> tuple[int, ...]:
    """Numbers of the rows that have all the values."""
    found = np.ones(len(frame), dtype=bool)
    for column, value in values.items():
        found &= (frame[column] == value).to_numpy()
    return tuple(np.flatnonzero(found).tolist())
