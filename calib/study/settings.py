"""Means and standard deviations over settings, before and after calibration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, Final

import numpy as np

from calib.sources import joined_parts
from calib.study.aggregate import INTERVAL_SCORES, REFERENCES
from calib.survey import Setting

MEASURES: Final = ("oa", *INTERVAL_SCORES)
Rows = Sequence[Mapping[str, Any]]


def over_settings(rows: Rows) -> list[dict[str, Any]]:
    """For each table, split, size and calibrator: its rows over settings, together and apart.

    ``over`` is ``all``, or a part of the setting that its rows share, such as ``prompt=sd``,
    or two parts, such as ``elicitation=verbalized, prompt=sd``; parts are told where there are
    several. ``before`` is the raw LLM and ``after`` the
    calibrator: mean and standard deviation over settings (n − 1 in the denominator; NaN of
    one). ``better`` and ``worse`` count the settings whose 95 % interval of the difference from
    a yardstick is below or above 0. Settings with a failed part are left out and counted.
    """
    return [
        {"table": table, "split": split, "size": size, "calibrator": calibrator, "over": over}
        | _moments(here, rows)
        for table, split, size, calibrator in dict.fromkeys(map(_place, rows))
        for over, here in _groups(
            [row for row in rows if _place(row) == (table, split, size, calibrator)]
        )
    ]


def _place(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(row[name] for name in ("table", "split", "size", "calibrator"))


def _groups(rows: Rows) -> Iterator[tuple[str, Rows]]:
    yield "all", rows
    parts = [joined_parts([Setting(*one) for one in row["settings"]]) for row in rows]
    varied = [at for at in range(len(Setting._fields)) if len({one[at] for one in parts}) > 1]
    # Of two varied fields, both together are a setting, which has a row of its own.
    pairs = combinations(varied, 2) if len(varied) > 2 else ()
    for places in [*((at,) for at in varied), *pairs]:
        for values in sorted({tuple(one[at] for at in places) for one in parts}):
            here = [
                row
                for row, one in zip(rows, parts, strict=True)
                if tuple(one[at] for at in places) == values
            ]
            names = (Setting._fields[at] for at in places)
            yield ", ".join(map("=".join, zip(names, values, strict=True))), here


def _moments(here: Rows, rows: Rows) -> dict[str, Any]:
    whole = [row for row in here if not row["parts_failed"]]
    raw = {_setting(row): row for row in rows if row["calibrator"] == "identity"}
    before = [raw[_setting(row)] for row in whole if _setting(row) in raw]
    return {
        "settings": len(whole),
        "settings_failed": len(here) - len(whole),
        "before": {name: _mean_and_sd([row[name] for row in before]) for name in MEASURES},
        "after": {name: _mean_and_sd([row[name] for row in whole]) for name in MEASURES},
        "against": {
            reference: {name: _verdicts(whole, reference, name) for name in INTERVAL_SCORES}
            for reference in REFERENCES
        },
    }


def _setting(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(row[name] for name in ("table", "sources", "target", "split", "size"))


def _mean_and_sd(values: Sequence[Mapping[str, float] | None]) -> dict[str, float]:
    means = np.array([value["mean"] for value in values if value is not None])
    return {
        "mean": float(means.mean()) if len(means) else float("nan"),
        "sd": float(means.std(ddof=1)) if len(means) > 1 else float("nan"),
    }


def _verdicts(rows: Rows, reference: str, score: str) -> dict[str, Any]:
    found = [row["minus"][reference][score] for row in rows if reference in row.get("minus", {})]
    return {
        "mean": float(np.mean([one["mean"] for one in found])) if found else float("nan"),
        "better": sum(one["hi"] < 0 for one in found),
        "worse": sum(one["lo"] > 0 for one in found),
        "settings": len(found),
    }
