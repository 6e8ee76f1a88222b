from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from builders import known_distortion, table
from tables import toy_table

from calib.base import Prediction
from calib.errors import DataError
from calib.evaluate import Evaluation, evaluate, folds_of_questions, write_evaluation
from calib.heldout import held_out, spread_of
from calib.opinions import Opinions
from calib.paired import settings_of
from calib.scores import w1
from calib.summary import clustered_difference, plain
from calib.survey import QuestionKey
from calib.table import check_table

SCORES = ("w1", "kl_1e3", "tv", "jsd", "rps")


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return check_table(table(known_distortion(n_questions=20, n_groups=3, n_sources=2)))


def run(frame: pd.DataFrame, seed: int = 0, joined: bool = False) -> Evaluation:
    there = settings_of(frame)
    selections = [there] if joined else [[setting] for setting in there]
    return evaluate(
        frame, selections=selections, calibrators=["ridge"], folds=4, seed=seed, table_name="t"
    )


@pytest.fixture(scope="module")
def result(frame: pd.DataFrame) -> Evaluation:
    return run(frame)


def split_questions(cells: pd.DataFrame) -> int:
    """How many questions stand in more than one fold."""
    pairs = cells[["survey", "question_id", "fold"]].drop_duplicates()
    return int((pairs.groupby(["survey", "question_id"]).size() > 1).sum())


def test_no_question_is_in_two_folds(result: Evaluation) -> None:
    assert split_questions(result.cells) == 0
    sizes = result.cells.drop_duplicates("question_id")["fold"].value_counts()
    assert sizes.max() - sizes.min() <= 1 and len(sizes) == 4


def test_a_split_by_row_is_caught(result: Evaluation) -> None:
    rng = np.random.default_rng(0)
    wrong = result.cells.assign(fold=rng.integers(1, 5, len(result.cells)))
    assert split_questions(wrong) > 0


def test_folds_are_the_same_whatever_the_order_and_another_with_another_seed() -> None:
    keys = [QuestionKey("s", f"q{i}") for i in range(30)]
    assert folds_of_questions(keys, 5, 1) == folds_of_questions(keys[::-1], 5, 1)
    assert folds_of_questions(keys, 5, 1) != folds_of_questions(keys, 5, 2)


def test_held_out_questions_are_not_learnt_from(frame: pd.DataFrame) -> None:
    # The human side of one fold is turned round: predictions for that fold stay as they were.
    before = run(frame).predictions
    fold = before["fold"] == 1
    touched = set(before.loc[fold, "question_id"])
    changed = frame.copy()
    rows = changed["question_id"].isin(touched)
    changed.loc[rows, "p_human"] = (
        changed[rows]
        .groupby(["question_id", "group", "model"])["p_human"]
        .transform(lambda shares: shares.to_numpy()[::-1])
    )
    after = run(changed).predictions
    np.testing.assert_array_equal(before.loc[fold, "p_cal"], after.loc[fold, "p_cal"])
    assert not np.array_equal(before.loc[~fold, "p_cal"], after.loc[~fold, "p_cal"])


def test_all_are_scored_on_the_same_cells_and_yardsticks_are_always_there(
    result: Evaluation,
) -> None:
    names = ["identity", "uniform", "train-mean", "ridge"]
    assert [row["calibrator"] for row in result.rows] == names * 2
    keys = ["question_id", "group", "fold"]
    parts = result.cells.groupby(["sources", "calibrator"])
    blocks = [cells[keys].to_numpy() for _, cells in parts]
    assert all(np.array_equal(block, blocks[0]) for block in blocks)


def test_rows_are_the_means_of_cells_and_cells_follow_from_predictions(result: Evaluation) -> None:
    for row in result.rows:
        of = (result.cells[["sources", "calibrator"]] == [row["sources"], row["calibrator"]]).all(
            axis=1
        )
        for score in ("w1", "kl_1e3", "tv"):
            assert row[score] == pytest.approx(result.cells.loc[of, score].mean(), abs=1e-12)
        assert row["oa"] == pytest.approx(100 * (1 - row["w1"]))
        assert row["n_cells"] == of.sum() == 60
    keys = ["sources", "calibrator", "question_id", "group"]
    by_hand = (
        result.predictions.assign(gap=lambda f: (f["p_cal"] - f["p_human"]).abs() / 2)
        .groupby(keys, sort=False)["gap"]
        .sum()
    )
    cells = result.cells.set_index(keys)["tv"]
    np.testing.assert_allclose(by_hand.reindex(cells.index), cells, atol=1e-12)


def test_shares_of_gaps(result: Evaluation) -> None:
    raw, _, mean, ridge = result.rows[:4]
    assert raw["gap_closed_w1"] == 0 and mean["llm_share_tv"] == 0
    expected = (raw["w1"] - ridge["w1"]) / (raw["w1"] - ridge["floor_w1"])
    assert ridge["gap_closed_w1"] == pytest.approx(expected)
    # The LLM exaggerates and ridge undoes it: part of the gap must close.
    assert 0 < ridge["gap_closed_kl_1e3"] < 1 and ridge["llm_share_kl_1e3"] > 0


def test_without_n_there_is_no_floor(frame: pd.DataFrame) -> None:
    found = run(frame.assign(n_human=np.nan)).as_dict()["rows"][3]
    assert found["floor_w1"] is None and found["gap_closed_w1"] is None
    assert found["w1"] is not None


def test_same_seed_same_results(frame: pd.DataFrame, result: Evaluation) -> None:
    shuffled = frame.sample(frac=1, random_state=2).reset_index(drop=True)
    again = run(shuffled)
    pd.testing.assert_frame_equal(result.cells, again.cells)
    pd.testing.assert_frame_equal(result.predictions, again.predictions)

    def timeless(found: Evaluation) -> dict[str, object]:
        document = found.as_dict()
        for row in document["rows"]:
            del row["fit_seconds"]
        return document

    assert timeless(result) == timeless(again)
    assert timeless(result) != timeless(run(frame, seed=1))


def test_unanswered_cells_are_counted_and_not_scored(frame: pd.DataFrame) -> None:
    rows = (frame["model"] == "m0") & (frame["question_id"] == "q000")
    silent = frame.copy()
    silent.loc[rows, ["outcome", "p_llm"]] = ["refused", np.nan]
    first, other = run(silent).rows[3], run(silent).rows[7]
    assert (first["n_cells"], first["n_cells_unanswered"], first["n_questions"]) == (57, 3, 19)
    assert (other["n_cells"], other["n_cells_unanswered"]) == (60, 0)
    joined = run(silent, joined=True).rows[3]
    assert (joined["n_cells"], joined["n_cells_unanswered"]) == (60, 0)
    assert joined["counts"]["source_cells_filled"] == 3


def test_too_few_questions() -> None:
    small = toy_table()
    with pytest.raises(DataError, match="4 folds for 3 questions"):
        evaluate(small, selections=[settings_of(small)], calibrators=[], folds=4, table_name="toy")
    with pytest.raises(DataError, match="at least two folds"):
        evaluate(small, selections=[settings_of(small)], calibrators=[], folds=1, table_name="toy")


def test_the_bootstrap_agrees_with_the_normal_limit_of_clusters() -> None:
    rng = np.random.default_rng(0)
    question = np.repeat(np.arange(300), 5)
    values = rng.normal(0.3, 1.0, 300)[question] + rng.normal(0.0, 0.1, 1500)
    found = clustered_difference(values, question, seed=1, n_resamples=4000)
    means = values.reshape(300, 5).mean(axis=1)
    half = 1.96 * means.std() / np.sqrt(300)
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx(
        (found.mean - half, found.mean + half), abs=0.08 * half
    )
    # The twin that takes rows as independent is far too sure.
    by_row = clustered_difference(values, np.arange(1500), seed=1)
    assert by_row.high - by_row.low < 0.6 * (found.high - found.low)


def test_a_constant_difference_has_no_spread_and_sizes_of_questions_count() -> None:
    question = np.array([0, 0, 0, 1])
    found = clustered_difference(np.full(4, -0.5), question, seed=0)
    assert found == pytest.approx((-0.5, -0.5, -0.5))
    # Two questions: the resampled means are 1, (3·1 + 1·0)/4 or 0.
    uneven = clustered_difference(np.array([1.0, 1, 1, 0]), question, seed=0)
    assert uneven == pytest.approx((0.75, 0.0, 1.0))


def test_differences_are_later_minus_earlier(result: Evaluation) -> None:
    first = [d for d in result.differences if d["sources"] == result.rows[0]["sources"]]
    assert len(first) == 6 * 3
    one = next(d for d in first if (d["a"], d["b"], d["score"]) == ("ridge", "identity", "kl_1e3"))
    assert one["mean"] == pytest.approx(result.rows[3]["kl_1e3"] - result.rows[0]["kl_1e3"])
    assert one["lo"] <= one["mean"] <= one["hi"] < 0


def test_intervals_of_right_draws_cover_and_of_narrow_ones_do_not() -> None:
    rng = np.random.default_rng(5)
    block = known_distortion(n_questions=150, n_groups=2, n_options=(3,)).human
    alpha = 40 * block.probs + 1e-9
    truth = rng.standard_gamma(alpha)
    truth /= truth.sum(axis=1, keepdims=True)
    observed = rng.multinomial(200, truth) / 200
    draws = rng.standard_gamma(alpha, size=(400, *alpha.shape))
    draws /= draws.sum(axis=2, keepdims=True)

    def covered(of: np.ndarray) -> float:
        mean = Opinions(block.index, of.mean(axis=0))
        found = spread_of(observed, block.n, Prediction(mean, {}, of), rng)
        assert set(found) == {
            "coverage_50", "coverage_80", "coverage_90", "width_90", "log_score", "energy",
        }  # fmt: skip
        return float(found["coverage_90"].mean())

    assert covered(draws) == pytest.approx(0.9, abs=0.04)
    middle = draws.mean(axis=0)
    assert covered(middle + 0.3 * (draws - middle)) < 0.75


def test_scores_are_those_of_the_score_functions() -> None:
    pairs = known_distortion(n_questions=10)
    folds = pairs.index.question_of_row % 2
    found = held_out("identity", pairs, folds, seed=0)
    index = pairs.index
    expected = w1(pairs.human.probs, pairs.elicited.pooled(), index.places, index.mask)
    np.testing.assert_array_equal(found.own_act["w1"], expected)
    assert found.trusted is None and not found.has_draws and np.isnan(found.low).all()


def test_the_folder(result: Evaluation, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    write_evaluation(result, folder)
    write_evaluation(result, folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "cells.parquet", "predictions.parquet", "results.json",
    ]  # fmt: skip
    assert json.loads((folder / "results.json").read_text("utf-8")) == result.as_dict()
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "cells.parquet"), result.cells)
    predictions = pd.read_parquet(folder / "predictions.parquet")
    assert [*predictions] == [
        "sources", "calibrator", "fold", "survey", "question_id", "attribute", "group",
        "question", "scale", "option_index", "option", "option_value", "n_human", "p_human",
        "p_raw", "p_cal", "p_cal_lo", "p_cal_hi",
    ]  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_undefined_becomes_null() -> None:
    found = plain({"a": np.float64("nan"), "b": [np.int64(2), float("-inf")], "c": (True, "x")})
    assert found == {"a": None, "b": [2, None], "c": [True, "x"]}
