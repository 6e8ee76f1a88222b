"""Shares and standard errors of small surveys by the package svy, for comparison.

    python tests/svy_reference.py > tests/svy_reference.json

Needs svy and polars, which the project itself does not; the numbers are kept in the file.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np


def respondents(n: int = 600) -> dict[str, list[float]]:
    """Four strata of six units each, unequal weights; a fifth of the answers is missing."""
    rng = np.random.default_rng(20261121)
    stratum = rng.integers(0, 4, n)
    unit = 10 * stratum + rng.integers(0, 6, n)
    lift = rng.normal(0, 0.6, 64)[unit]
    group = (rng.random(n) < 0.3).astype(int) + (unit % 10 == 0)
    answer = np.digitize(rng.normal(lift + 0.3 * group, 1.0), [-0.5, 0.4])
    weight = np.exp(rng.normal(0, 0.5, n))
    missing = rng.random(n) < 0.2
    return {
        "stratum": stratum.tolist(),
        "unit": unit.tolist(),
        "group": group.tolist(),
        "answer": np.where(missing, -1, answer).tolist(),
        "weight": weight.tolist(),
    }


def main() -> None:
    """Print shares and standard errors by design, group and answer."""
    import polars as pl
    import svy

    people = pl.DataFrame(respondents()).with_columns(
        pl.col("answer").cast(pl.Utf8).replace("-1", None), pl.col("group").cast(pl.Utf8)
    )
    designs = {
        "strata and units": svy.Design(stratum="stratum", psu="unit", wgt="weight"),
        "strata": svy.Design(stratum="stratum", wgt="weight"),
        "units": svy.Design(psu="unit", wgt="weight"),
        "weights": svy.Design(wgt="weight"),
    }
    found = {}
    for name, design in designs.items():
        estimation = svy.Sample(people, design).estimation
        everybody = estimation.prop("answer", drop_nulls=True)
        by_group = estimation.prop("answer", by="group", drop_nulls=True)
        found[name] = [one_row(each) for one in (everybody, by_group) for each in one.estimates]
    lines = [
        f"{json.dumps(name)}: [\n" + ",\n".join(map(json.dumps, rows)) + "]"
        for name, rows in found.items()
    ]
    print(f'{{"svy": "{svy.__version__}", "designs": {{\n' + ",\n".join(lines) + "}}")


def one_row(estimate: Any) -> dict[str, object]:
    """Group (all where there is none), answer, share, standard error."""
    group = estimate.by_level[0] if estimate.by_level else "all"
    return {"group": group, "answer": int(estimate.y_level), "p": estimate.est, "se": estimate.se}


if __name__ == "__main__":
    main()
