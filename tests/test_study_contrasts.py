"""Settings against each other: common cells, contrasts, shapes and the specification curve."""

from __future__ import annotations

import base64
import csv
import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from builders import groups, index, opinions, question, table, with_probs

from calib.errors import DataError
from calib.files import write_table
from calib.opinions import Elicited, Index, Opinions, close
from calib.paired import Paired
from calib.study.cells import run_cells
from calib.study.common import common_cells
from calib.study.grid import expand
from calib.study.plan import study_plan
from calib.study.shape import ratios, shape_sums
from calib.study.speccurve import specification_curve
from calib.study.tables import results_frame, summaries
from calib.survey import Setting
from calib.table import check_table

SETTINGS = tuple(
    Setting(model, elicitation, prompt)
    for model in ("m0", "m1")
    for elicitation in ("verbalized", "sequence")
    for prompt in ("sd", "base")
)
PLAN: dict[str, Any] = {
    "name": "tiny", "folds": 2, "cells": "common", "tables": [{"path": "t.parquet"}],
    "sources": ["prompt=sd", "prompt=base"], "calibrators": ["temperature"],
}  # fmt: skip


def asked(n_questions: int = 6) -> Paired:
    """Sequence answers are the human shares moved towards uniform, verbalized less so."""
    rng = np.random.default_rng(3)
    human = opinions(index([question(f"q{i}", 4) for i in range(n_questions)]), rng, 100.0)
    uniform = close(human.index.mask.astype(float), human.index.mask)
    weight = {"verbalized": 0.2, "sequence": 0.5}
    sources = tuple(
        with_probs(human, human.probs + weight[one.elicitation] * (uniform - human.probs))
        for one in SETTINGS
    )
    return Paired(human, Elicited(SETTINGS, sources), {})


def silenced(frame: pd.DataFrame) -> pd.DataFrame:
    """One setting did not answer one cell."""
    of = (frame["question_id"] == "q0") & (frame["group"] == "g00") & (frame["model"] == "m0")
    of &= (frame["elicitation"] == "sequence") & (frame["prompt"] == "base")
    assert of.any()
    frame.loc[of, ["outcome", "p_llm"]] = ["refused", np.nan]
    return frame


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The summary of a study with common cells, one of 12 left out."""
    folder = tmp_path_factory.mktemp("data")
    write_table(check_table(silenced(table(asked()))), folder / "t.parquet")
    grid = expand(study_plan(PLAN), folder)
    results = [done.result for batch in grid.batches for done in run_cells(batch)]
    common = list(grid.left_out)
    return {
        "left_out": grid.left_out,
        **summaries(results_frame(results), results, common),
        "uncompared": summaries(results_frame(results), results)["contrasts"],
    }


def test_common_cells_are_kept_and_the_others_counted(found: dict[str, Any]) -> None:
    assert found["left_out"] == {"t.parquet": {"cells": 12, "cells_left_out": 1}}
    assert {row["n_cells"] for row in found["rows"]} == {11}
    assert found["uncompared"] == []


def test_no_common_cell_is_an_error_and_other_settings_do_not_count() -> None:
    frame = table(asked())
    silent = (frame["model"] == "m0") == (frame["question_id"] < "q3")
    frame.loc[silent, ["outcome", "p_llm"]] = ["refused", np.nan]
    with pytest.raises(DataError, match="none of 12 for 8 settings"):
        common_cells(frame, SETTINGS)
    kept, counts = common_cells(frame, [one for one in SETTINGS if one.model == "m1"])
    assert counts["cells_left_out"] == 6 and set(kept["model"]) == {"m1"}


def test_a_plan_with_all_cells_is_the_plan_that_does_not_choose() -> None:
    plain = {**PLAN, "cells": "all"}
    del plain["cells"]
    assert study_plan({**PLAN, "cells": "all"}).as_dict() == study_plan(plain).as_dict()
    assert study_plan(PLAN).as_dict()["tables"][0]["cells"] == "common"
    with pytest.raises(DataError, match="cells is among all, common"):
        study_plan({**PLAN, "cells": "some"})


def contrast(found: dict[str, Any], field: str, calibrator: str, over: str) -> dict[str, Any]:
    [one] = [
        one
        for one in found["contrasts"]
        if (one["field"], one["calibrator"], one["over"]) == (field, calibrator, over)
    ]
    chosen: dict[str, Any] = one
    return chosen


@pytest.mark.parametrize("over", ["all", "model=m1", "prompt=base"])
def test_elicitations_by_hand(over: str, found: dict[str, Any]) -> None:
    one = contrast(found, "elicitation", "identity", over)
    assert (one["a"], one["b"]) == ("sequence", "verbalized")
    assert one["pairs"] == (4 if over == "all" else 2) and one["n_cells"] == 11 * one["pairs"]
    # Sequence answers are half the way to uniform, verbalized a fifth: TV is 2.5 times as large.
    assert one["ratio"]["tv"] == pytest.approx({"mean": 1.5, "lo": 1.5, "hi": 1.5})
    rows = {tuple(row["settings"][0]): row for row in found["rows"]
            if row["calibrator"] == "identity"}  # fmt: skip
    a, b = (rows["m0", asked, "sd"]["tv"]["mean"] for asked in ("sequence", "verbalized"))
    expected = a - b
    assert one["minus"]["tv"]["mean"] == pytest.approx(expected)
    assert one["minus"]["tv"]["lo"] > 0 and one["worse"] == one["pairs"] and one["better"] == 0


def test_prompts_that_change_nothing_differ_by_nothing(found: dict[str, Any]) -> None:
    one = contrast(found, "prompt", "temperature", "all")
    assert (one["a"], one["b"], one["better"], one["worse"]) == ("sd", "base", 0, 0)
    assert one["minus"]["w1"] == pytest.approx({"mean": 0, "lo": 0, "hi": 0}, abs=1e-12)


def test_two_parts_of_a_setting_have_a_mean(found: dict[str, Any]) -> None:
    overs = {one["over"] for one in found["over_settings"]}
    assert {"elicitation=sequence, prompt=sd", "model=m0, elicitation=verbalized"} <= overs


def test_the_specification_curve_has_all_gains_sorted(found: dict[str, Any]) -> None:
    figure = specification_curve(found["rows"], "x")
    assert figure is not None and "Of 8 specifications" in figure.plot.caption
    text = base64.b64decode(figure.csv.partition("base64,")[2]).decode()
    lines = list(csv.DictReader(io.StringIO(text)))
    gains = [float(line["gain"]) for line in lines]
    expected = [-100 * row["minus"]["identity"]["w1"]["mean"] for row in found["rows"]
                if row["calibrator"] == "temperature"]  # fmt: skip
    assert gains == sorted(expected) and len(gains) == 8
    assert all(float(one["lo"]) <= float(one["gain"]) <= float(one["hi"]) for one in lines)
    assert specification_curve(found["rows"][:1], "x") is None


def human(n: float | None = 100.0) -> Opinions:
    of = index([question("q0", 4), question("q1", 3, "nominal")])
    shares = [[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1], [0.5, 0.5, 0, 0], [1, 0, 0, 0]]
    return Opinions(of, np.array(shares), None if n is None else np.full(4, n))


def told(people: Opinions, probs: np.ndarray) -> dict[str, float]:
    return ratios({name: float(v.sum()) for name, v in shape_sums(people, probs).items()})


def test_shapes_by_hand() -> None:
    people = human()
    half = 0.5 * people.probs + 0.5 * close(people.index.mask.astype(float), people.index.mask)
    found = told(people, half)
    largest = (0.325 + 0.325 + 5 / 12 + 2 / 3) / (0.4 + 0.4 + 0.5 + 1)
    assert found["peak_ratio"] == pytest.approx(largest) and found["entropy_ratio"] > 1
    # Group differences are halved; of people's, sampling error is taken out.
    squares = 0.3**2 * 2 + 0.1**2 * 2 + 0.5**2 * 2
    noise = (2 * (1 - 0.30) + (1 - 0.5) + 0) / 99
    assert found["group_gap_ratio"] == pytest.approx(np.sqrt(squares / 4 / (squares - noise)))
    # Errors of 0.5·(¼ − p) = .075, .025, −.025, −.075: neighbours .001875, −.000625, .001875.
    assert found["neighbour_correlation"] == pytest.approx((0.003125 / 3) / (0.0125 / 4))
    same = told(people, people.probs)
    assert (same["peak_ratio"], same["entropy_ratio"]) == (1, 1)
    assert np.isnan(same["neighbour_correlation"]) and same["group_gap_ratio"] > 1
    assert np.isnan(told(human(None), half)["group_gap_ratio"])


def test_errors_without_order_correlate_as_exchangeable_ones() -> None:
    rng = np.random.default_rng(0)
    of = index([question(f"q{i}", 5) for i in range(1000)], groups(1))
    people = opinions(of, rng, 50.0)
    random = told(people, close(people.probs + rng.uniform(0, 0.4, people.probs.shape), of.mask))
    assert random["neighbour_correlation"] == pytest.approx(-1 / 4, abs=0.06)
    slope = np.linspace(-1, 1, 5)
    assert told(people, people.probs + 0.01 * slope)["neighbour_correlation"] > 0.3


@pytest.mark.parametrize(("shown", "expected"), [(2.0, 2.0), (1.0, 1.0), (0.5, 0.5)])
def test_exaggeration_of_groups_is_found_through_sampling_error(
    shown: float, expected: float
) -> None:
    rng = np.random.default_rng(5)
    of: Index = index([question(f"q{i}", 2) for i in range(1000)])
    gap = np.where(of.group_of_row == 0, 0.05, -0.05)
    truth = np.column_stack([0.5 + gap, 0.5 - gap])
    counts = rng.multinomial(60, truth).astype(float)
    people = Opinions(of, counts / 60, np.full(len(of), 60.0))
    probs = np.column_stack([0.5 + shown * gap, 0.5 - shown * gap])
    assert told(people, probs)["group_gap_ratio"] == pytest.approx(expected, rel=0.1)


def test_nothing_of_a_table_changes_where_all_cells_are_common() -> None:
    frame = check_table(table(asked()))
    kept, counts = common_cells(frame, SETTINGS)
    pd.testing.assert_frame_equal(kept, frame.reset_index(drop=True))
    assert counts == {"cells": 12, "cells_left_out": 0}
