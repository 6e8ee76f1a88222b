"""Regret of decisions, by hand; and an LLM that is right loses less than one that guesses."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from test_cli import ok, refused

from calib.decisions import FRESH, Decision, decision_regrets
from calib.files import write_table
from calib.simulate import Truth, simulate_survey
from calib.survey import Group

HUMAN = {"left": (0.2, 0.5, 0.3), "right": (0.1, 0.2, 0.7)}
PREDICTED = {
    "ridge": {"left": (0.6, 0.3, 0.1), "right": (0.1, 0.2, 0.7)},
    "uniform": dict.fromkeys(HUMAN, (1 / 3, 1 / 3, 1 / 3)),
    "contrary": {"left": (0.1, 0.1, 0.8), "right": (0.8, 0.1, 0.1)},
}
VALUES = (1.0, 2.0, 4.0)
"""Places 0, 1/3 and 1: only the last lies above the middle."""


def evaluation(folder: Path) -> Path:
    """An ordinal question of two parties and one region, and a nominal one."""
    rows = []
    for calibrator, shares in PREDICTED.items():
        for question, values in (("scale", VALUES), ("names", (None, None, None))):
            for group, predicted in shares.items():
                for attribute in ("PARTY",) if group == "right" else ("PARTY", "REGION"):
                    rows += [
                        ("s/verbalized/sd", calibrator, "s", question, attribute, group, *option)
                        for option in zip(values, HUMAN[group], predicted, strict=True)
                    ]
    columns = ["sources", "calibrator", "survey", "question_id", "attribute", "group"]
    frame = pd.DataFrame(rows, columns=[*columns, "option_value", "p_human", "p_cal"])
    frame["n_human"] = 50.0
    frame.to_parquet(folder / "predictions.parquet")
    (folder / "results.json").write_text("{}", "utf-8")
    return folder


@pytest.mark.parametrize(
    ("decision", "calibrator", "group", "regret"),
    [
        ("mode", "ridge", "left", 0.5 - 0.2),
        ("mode", "ridge", "right", 0.0),
        ("mode", "uniform", "left", 0.5 - 1 / 3),
        ("mode", "contrary", "right", 0.7 - 0.1),
        ("side", "ridge", "left", 0.0),
        ("side", "uniform", "left", 0.0),
        ("side", "uniform", "right", 0.7 - 0.3),
        ("side", "contrary", "left", 0.7 - 0.3),
        ("target", "ridge", "", 0.0),
        ("target", "uniform", "", (0.2 / 3 + 0.7 - 0.5 / 3 - 0.3) / 2),
        ("target", "contrary", "", 0.2 / 3 + 0.7 - 0.5 / 3 - 0.3),
    ],
)
def test_what_a_decision_loses(
    tmp_path: Path, decision: Decision, calibrator: str, group: str, regret: float
) -> None:
    rows, counts = decision_regrets(evaluation(tmp_path), decision)
    [row] = [
        one
        for one in rows
        if (one.calibrator, one.attribute, one.group) == (calibrator, "PARTY", group)
    ]
    assert row.regret == pytest.approx(regret, abs=1e-12)
    by_lot = {("mode", "left"): 1 / 3, ("side", "right"): 0.0, ("target", ""): 1 / 2}
    tied = calibrator == "uniform" and regret > 0
    assert row.agree == pytest.approx(by_lot[decision, group] if tied else float(regret == 0))
    n_questions = 2 if decision == "mode" else 1
    assert row.n_questions == row.n_decisions == n_questions
    # However many calibrators there are; the region has one group alone.
    left_out = {
        "mode": {},
        "side": {"cells_on_nominal_scales_left_out": 3},
        "target": {"cells_on_nominal_scales_left_out": 3, "cells_alone_in_their_attribute": 1},
    }
    assert counts == left_out[decision] | {"cells_not_of_every_setting_left_out": 0}


def test_all_groups_together_are_the_mean_of_their_decisions(tmp_path: Path) -> None:
    rows, _ = decision_regrets(evaluation(tmp_path), "mode")
    of = {(one.attribute, one.group): one for one in rows if one.calibrator == "ridge"}
    assert of["", ""].regret == pytest.approx(0.3 * 4 / 6)
    assert of["", ""].n_decisions == 6
    assert of["PARTY", ""].regret == pytest.approx(0.3 / 2)


def test_settings_are_compared_on_the_cells_that_all_of_them_have(tmp_path: Path) -> None:
    folder = evaluation(tmp_path)
    frame = pd.read_parquet(folder / "predictions.parquet")
    base = frame[frame["group"] == "left"].assign(sources="s/verbalized/base")
    pd.concat([frame, base]).to_parquet(folder / "predictions.parquet")
    rows, counts = decision_regrets(folder, "mode")
    assert counts == {"cells_not_of_every_setting_left_out": 2}
    of = {(one.sources, one.calibrator): one for one in rows if not one.attribute}
    assert {one.n_decisions for one in of.values()} == {4}
    assert of["s/verbalized/sd", "ridge"].regret == of["s/verbalized/base", "ridge"].regret
    rows, counts = decision_regrets(folder, "mode", all_cells=True)
    assert counts == {} and {one.n_decisions for one in rows if not one.attribute} == {4, 6}
    other = base[base["question_id"] == "none"]
    apart = pd.concat([frame[frame["group"] == "right"], base, other])
    apart.to_parquet(folder / "predictions.parquet")
    assert "--all-cells" in refused("decide", folder)


def test_what_is_saved_is_paired_with_the_raw_predictions(tmp_path: Path) -> None:
    folder = evaluation(tmp_path)
    frame = pd.read_parquet(folder / "predictions.parquet")
    raw = frame[frame["calibrator"] == "contrary"].assign(calibrator="identity")
    pd.concat([frame, raw]).to_parquet(folder / "predictions.parquet")
    rows, _ = decision_regrets(folder, "mode")
    of = {one.calibrator: one for one in rows if (one.attribute, one.group) == ("PARTY", "right")}
    assert of["ridge"].saved == of["ridge"].saved_lo == pytest.approx(0.7 - 0.1)
    assert of["identity"].saved == of["contrary"].saved_hi == 0


def test_a_fresh_sample_loses_what_sampling_costs(tmp_path: Path) -> None:
    folder = evaluation(tmp_path)
    frame = pd.read_parquet(folder / "predictions.parquet")

    def fresh(n: float) -> float:
        frame.assign(n_human=n).to_parquet(folder / "predictions.parquet")
        rows, _ = decision_regrets(folder, "mode", seed=1)
        [row] = [
            one for one in rows if (one.calibrator, one.group) == (FRESH, "left")
            and one.attribute == "PARTY"
        ]  # fmt: skip
        return row.regret

    # One person says the option in proportion to its share: 0.5 less the mean share of a draw.
    assert fresh(1) == pytest.approx(0.5 - (0.2**2 + 0.5**2 + 0.3**2), abs=0.06)
    assert fresh(1e6) == 0
    frame.assign(n_human=float("nan")).to_parquet(folder / "predictions.parquet")
    rows, counts = decision_regrets(folder, "mode")
    assert FRESH not in {one.calibrator for one in rows}
    assert counts["cells_of_unknown_n_hence_no_fresh_sample"] == 6


def test_an_undecided_side_loses_half_the_margin(tmp_path: Path) -> None:
    folder = evaluation(tmp_path)
    frame = pd.read_parquet(folder / "predictions.parquet")
    even = frame["option_value"].map({1.0: 0.5, 2.0: 0.0, 4.0: 0.5}).fillna(frame["p_cal"])
    frame.assign(p_cal=even).to_parquet(folder / "predictions.parquet")
    rows, _ = decision_regrets(folder, "side")
    [left] = [one for one in rows if (one.calibrator, one.attribute) == ("ridge", "REGION")][:1]
    assert left.regret == pytest.approx((0.7 - 0.3) / 2)


def test_an_llm_that_is_right_loses_less_than_one_that_guesses(tmp_path: Path) -> None:
    groups = [Group("PARTY", name) for name in ("left", "right", "centre")]
    truth = Truth(beta_within=1.0, scale_curve=0.0, kappa=200.0, phi=500.0)
    table = simulate_survey(n_questions=20, groups=groups, n_options=(4,), truth=truth, seed=1)
    write_table(table.table, tmp_path / "table.parquet")
    ok("evaluate", tmp_path / "table.parquet", "-o", tmp_path / "out", "--calibrators", "identity")
    for decision in ("mode", "side", "target"):
        done = ok("decide", tmp_path / "out", "--decision", decision, "--json")
        rows = json.loads(done.stdout)["rows"]
        of = {one["calibrator"]: one for one in rows if not one["attribute"]}
        assert of["identity"]["hi"] < of["uniform"]["lo"]
        assert 0 <= of["identity"]["lo"] <= of["identity"]["regret"] <= of["identity"]["hi"]
    shown = ok("decide", tmp_path / "out").stdout
    assert "regret, mode" in shown and "fresh sample" in shown
    assert "0 is the decision on people's own answers" in " ".join(shown.split())
    assert "60 decisions on 20 questions" in shown


def test_a_folder_without_an_evaluation_is_refused(tmp_path: Path) -> None:
    assert "name a folder that calib evaluate wrote" in refused("decide", tmp_path)


def test_nominal_scales_alone_have_no_side(tmp_path: Path) -> None:
    folder = evaluation(tmp_path)
    frame = pd.read_parquet(folder / "predictions.parquet")
    frame[frame["option_value"].isna()].to_parquet(folder / "predictions.parquet")
    assert "take --decision mode" in refused("decide", folder, "--decision", "side")
