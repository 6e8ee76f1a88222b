"""The specification curve of a study: every choice's gain, sorted, with the choices below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from calib.evaluate import ALWAYS
from calib.plots import INK, finish, label, new_figure, tidy
from calib.study.figures import Figure, data_uri, setting_name

FIELDS: Final = ("model", "elicitation", "prompt")
MOST_LEVELS: Final = 24
"""Choices that are drawn; more of them stand in the CSV file alone."""


def specification_curve(rows: Sequence[Mapping[str, Any]], name: str) -> Figure | None:
    """Gain in OA over the raw LLM by every calibrator proper in every setting and size.

    Sorted, with 95 % intervals; a mark below each says what was chosen, of what there are
    several choices (between settings: those of the answers predicted from). None with fewer
    than two specifications. Source: Simonsohn, Simmons and Nelson, Nature Human Behaviour 4
    (2020), 1208-1214; without its joint test.
    """
    proper = [row for row in rows if row["calibrator"] not in ALWAYS]
    found = [one for one in map(_specification, proper) if one is not None]
    if len(found) < 2:
        return None
    found.sort(key=lambda one: (one["gain"], str(one)))
    fields = [
        field for field in (*FIELDS, "calibrator", "size") if len({one[field] for one in found}) > 1
    ]
    levels = [
        (field, value) for field in fields for value in sorted({one[field] for one in found})
    ][:MOST_LEVELS]
    figure = new_figure(2.8 + 0.17 * len(levels))
    heights = [2.2, max(0.17 * len(levels), 0.17)]
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=heights)
    x = np.arange(len(found), dtype=float)
    gain, low, high = (np.array([one[end] for one in found]) for end in ("gain", "lo", "hi"))
    above.vlines(x, low, high, color="#999999", linewidth=0.7)
    above.plot(x, gain, "o", color=INK, markersize=2.2)
    above.axhline(0, color="#D55E00", linewidth=1)
    above.set_ylabel("Gain in OA", fontsize=10)
    tidy(above, grid="y")
    for place, (field, value) in enumerate(levels):
        own = np.array([one[field] == value for one in found])
        below.plot(x[own], np.full(own.sum(), place), "|", color=INK, markersize=5)
    below.set_yticks(
        range(len(levels)), [label(str(value), width=24, lines=1) for _, value in levels]
    )
    below.set_ylim(len(levels) - 0.5, -0.5)
    below.set_xticks([])
    tidy(below)
    below.tick_params(axis="y", labelsize=7)
    n_better, n_worse = int((low > 0).sum()), int((high < 0).sum())
    shown = f"Of {len(found)} specifications {n_better} are clearly above 0, {n_worse} below"
    return Figure(
        finish(
            figure,
            f"Sorted gains in opinion alignment with the choices behind each. {shown}; the "
            "numbers are in the CSV file.",
            f"Specification curve: gain in OA over the raw LLM, every choice. {shown}. Lines: "
            "95 % intervals, questions resampled; the specifications share their questions.",
        ),
        data_uri(found),
        f"{name}-specifications.csv",
    )


def _specification(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """A row's choices and its gain in points of OA; None where it has no difference."""
    minus = row.get("minus", {}).get("identity", {}).get("w1")
    if minus is None or minus["lo"] is None or minus["hi"] is None:
        return None
    parts = {
        field: "+".join(dict.fromkeys(str(one[place]) for one in row["settings"]))
        for place, field in enumerate(FIELDS)
    }
    return {
        "setting": setting_name(row), **parts,
        "calibrator": str(row["calibrator"]), "size": str(row["size"]),
        "gain": -100 * minus["mean"], "lo": -100 * minus["hi"], "hi": -100 * minus["lo"],
    }  # fmt: skip
