"""How far a study is."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

from calib.study.store import Store


def status(store: Store) -> dict[str, Any]:
    """Cells done, failed and left, in all and by calibrator, with seconds of computing.

    ``seconds`` is what the done cells took, added up over processes; ``seconds_left`` takes
    each left cell for as long as the mean done cell of its calibrator, null where one of a
    calibrator has none done. ``complete`` says that nothing is left.
    """
    document = store.read()
    there = store.done()
    cells = document["cells"]
    done = [cell for cell in cells if cell["key"] in there]
    results = store.results(cell["key"] for cell in done)
    failed = {result["key"] for result in results if "error" in result}
    by_name: dict[str, dict[str, Any]] = defaultdict(
        lambda: {"done": 0, "failed": 0, "left": 0, "seconds": 0.0}
    )
    for cell in cells:
        one = by_name[cell["variant"]["name"]]
        if cell["key"] not in there:
            one["left"] += 1
            continue
        one["done"] += 1
        one["failed"] += cell["key"] in failed
        seconds = store.seconds(cell["key"])
        one["seconds"] += 0.0 if math.isnan(seconds) else seconds
    for one in by_name.values():
        mean = one["seconds"] / one["done"] if one["done"] else math.nan
        one["seconds_left"] = one["left"] * mean if one["left"] else 0.0
    totals = {
        name: sum(one[name] for one in by_name.values())
        for name in ("done", "failed", "left", "seconds", "seconds_left")
    }
    return {
        "study": document["plan"]["name"],
        "cells": len(cells),
        **totals,
        "complete": totals["left"] == 0,
        "calibrators": [{"calibrator": name, **one} for name, one in by_name.items()],
    }
