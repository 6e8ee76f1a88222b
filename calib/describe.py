"""What a paired table holds, in counts."""

from __future__ import annotations

from typing import Any

import pandas as pd

from calib.rules import ANSWER_KEY, CELL_KEY, OPTION_KEY, QUESTION_KEY, SETTING_KEY


def describe(frame: pd.DataFrame) -> dict[str, Any]:
    """Counts of a checked table's rows, questions, groups, settings, scales and outcomes.

    ``scales`` counts questions by scale and number of substantive options; ``outcomes``
    counts answers, one per cell and setting.
    """
    substantive = frame.loc[frame["option_kind"] == "substantive"]
    options = substantive.drop_duplicates(OPTION_KEY).groupby([*QUESTION_KEY, "scale"], sort=True)
    scales = options.size().rename("options").reset_index()
    shapes = (scales["scale"] + " " + scales["options"].astype(str)).value_counts().sort_index()
    cells = frame.drop_duplicates(CELL_KEY)
    answers = frame.drop_duplicates(ANSWER_KEY)
    asked = frame.groupby(CELL_KEY, sort=False)["p_human"].count() > 0
    return {
        "rows": len(frame),
        "surveys": int(frame["survey"].nunique()),
        "questions": len(frame.drop_duplicates(QUESTION_KEY)),
        "groups": len(frame.drop_duplicates(["attribute", "group"])),
        "settings": len(frame.drop_duplicates(SETTING_KEY)),
        "cells": len(cells),
        "cells_with_human_answer": int(asked.sum()),
        "cells_with_unknown_n": int(cells["n_human"].isna().sum()),
        "scales": {str(name): int(count) for name, count in shapes.items()},
        "outcomes": {
            str(name): int(count)
            for name, count in answers["outcome"].value_counts().sort_index().items()
        },
    }
