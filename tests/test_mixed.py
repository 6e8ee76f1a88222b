"""Predictions and people together: conjugate closed forms, brute force, calibrated simulation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from populations import KEY, one_question, shared_error_draws
from scipy.stats import beta, binomtest

from calib.draws import GroupShares
from calib.errors import DataError, FitError
from calib.population.human import place_human
from calib.population.linear import Answers, gain, moments, remaining, sampled, update
from calib.population.mixed import combine
from calib.rules import CELL_KEY


def answers(shares: GroupShares, p: np.ndarray, n: np.ndarray) -> pd.DataFrame:
    """A human table with the keys of a prediction; p and n by row, NaN where nobody was asked."""
    return shares.keys[KEY].assign(p_human=p, n_human=n)


def test_one_dirichlet_cell_is_updated_as_theory_says() -> None:
    rng = np.random.default_rng(0)
    alpha = np.array([6.0, 9.0, 15.0])
    shares = one_question(rng.dirichlet(alpha, (40_000, 1)), "A")
    p = np.array([0.22, 0.34, 0.44])
    found = combine(shares, place_human(answers(shares, p, np.full(3, 50.0)), shares)).table
    exact = alpha + 50 * p
    np.testing.assert_allclose(found["p_comb"], exact / exact.sum(), atol=2e-3)
    assert found["n_llm"].iloc[0] == pytest.approx(30.0, rel=0.02)
    assert found["n_total"].iloc[0] == pytest.approx(80.0, rel=0.02)
    np.testing.assert_allclose(found["n_others"], 0.0, atol=1e-6)
    marginal = beta(exact, exact.sum() - exact)
    np.testing.assert_allclose(found["p_comb_lo"], marginal.ppf(0.05), atol=0.012)
    np.testing.assert_allclose(found["p_comb_hi"], marginal.ppf(0.95), atol=0.012)


def test_the_gain_is_the_regression_of_truths_on_answers() -> None:
    rng = np.random.default_rng(1)
    draws = shared_error_draws(rng, 200_000, 3, [0.2, 0.3, 0.5])
    first, second = np.arange(3), np.arange(3, 6)
    flat = draws.reshape(len(draws), -1)
    factor = gain(moments(flat), [(first, 30.0), (second, 100.0)])
    y = np.concatenate(
        [rng.multinomial(30, draws[:, 0]) / 30, rng.multinomial(100, draws[:, 1]) / 100], 1
    )
    # Shares sum to one: the least-norm coefficients of the regression are those of the gain.
    centred = y - y.mean(axis=0)
    expected = (np.linalg.pinv(centred, rcond=1e-8) @ (flat - flat.mean(axis=0))).T
    np.testing.assert_allclose(factor, expected, atol=0.01)
    error = flat - flat.mean(axis=0) - centred @ factor.T
    left = remaining(moments(flat), [(first, 30.0), (second, 100.0)])
    np.testing.assert_allclose(error.T @ error / len(error), left, atol=6e-5)
    # A group that did not answer has learnt from those that did.
    assert (np.diag(left)[6:] < 0.6 * flat.var(axis=0)[6:]).all()


@pytest.mark.parametrize("seed", range(5))
def test_never_less_precise_than_the_answers_alone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    expected = rng.dirichlet(np.ones(4))
    kappa, phi = rng.uniform(2, 200, 2)
    draws = shared_error_draws(rng, 500, 4, expected + 0.02, kappa, phi).reshape(500, -1)
    prior = moments(draws)
    cells = [(np.arange(4) + 4 * g, float(10 ** rng.uniform(0, 4))) for g in range(3)]
    left = remaining(prior, cells)
    for rows, n in cells:
        better = prior.noise(rows, n) - left[np.ix_(rows, rows)]
        assert np.linalg.eigvalsh(better).min() > -1e-10
    assert np.linalg.eigvalsh(prior.covariance - left).min() > -1e-10


def test_sampling_error_has_the_variance_of_n_whole_or_not() -> None:
    rng = np.random.default_rng(2)
    p = np.tile([0.2, 0.8], (200_000, 1))
    for n in (1.0, 7.5, 40.0):
        drawn = sampled(p, n, rng)
        np.testing.assert_allclose(drawn.sum(axis=1), 1.0)
        assert drawn[:, 0].mean() == pytest.approx(0.2, abs=2e-3)
        assert drawn[:, 0].var() == pytest.approx(0.16 / n, rel=0.02)


def test_updated_draws_keep_their_sums_and_have_the_linear_estimate_as_mean() -> None:
    rng = np.random.default_rng(3)
    draws = shared_error_draws(rng, 400, 2, [0.1, 0.3, 0.6]).reshape(400, -1)
    cell = Answers(np.arange(3), np.array([0.3, 0.3, 0.4]), 60.0)
    found = update(draws, [cell], rng)
    np.testing.assert_allclose(found.reshape(400, 2, 3).sum(axis=2), 1.0)
    prior = moments(draws)
    expected = prior.mean + gain(prior, [(cell.rows, 60.0)]) @ (cell.shares - prior.mean[:3])
    np.testing.assert_allclose(found.mean(axis=0), expected)


class Trial(NamedTuple):
    """What a simulation of many questions gives."""

    squared: float
    """Mean squared error of the combination, summed over options."""
    of_humans: float
    promised: float
    """What n_total promises: expected θ(1 − θ)/n_total."""
    p_coverage: float
    """p-value of 90 % coverage, the first option of the first group a vote."""
    surprise: float
    too_sure: bool
    widened: float


def trial(
    confidence: float = 1.0,
    n_questions: int = 120,
    n: int = 40,
    widen: bool = False,
    seed: int = 0,
) -> Trial:
    """Truths are one more draw; the prediction's errors are 1/``confidence`` of the true ones."""
    rng = np.random.default_rng(seed)
    keys, blocks, true, p = [], [], [], []
    for number in range(n_questions):
        expected = rng.dirichlet([4.0, 4.0, 4.0])
        draws = shared_error_draws(rng, 501, 3, expected)
        told = draws[1:].mean(axis=0) + (draws[1:] - draws[1:].mean(axis=0)) / confidence
        shares = one_question(told, "AAA")
        keys.append(shares.keys.assign(question_id=f"q{number:03}"))
        blocks.append(shares.draws)
        true.append(draws[0].ravel())
        p.append((rng.multinomial(n, draws[0]) / n).ravel())
    shares = GroupShares(pd.concat(keys, ignore_index=True), np.concatenate(blocks, 1), True)
    truth, human = np.concatenate(true), np.concatenate(p)
    table = answers(shares, human, np.full(len(human), float(n)))
    combined = combine(shares, place_human(table, shares), widen=widen)
    found = combined.table
    first = (found["group"] == "a0") & (found["option_index"] == 0)
    inside = ((found["p_comb_lo"] <= truth) & (truth <= found["p_comb_hi"]))[first]
    return Trial(
        float(((found["p_comb"] - truth) ** 2).sum()),
        float(((human - truth) ** 2).sum()),
        float((truth * (1 - truth) / found["n_total"]).sum()),
        float(binomtest(int(inside.sum()), len(inside), 0.9).pvalue),
        combined.surprise,
        combined.too_sure,
        combined.widened,
    )


def test_in_simulation_precise_worth_what_it_says_and_covering() -> None:
    found = trial()
    assert found.squared < 0.75 * found.of_humans
    assert found.squared == pytest.approx(found.promised, rel=0.1)
    assert found.p_coverage > 0.01
    assert found.surprise == pytest.approx(1.0, abs=0.15) and not found.too_sure


@pytest.mark.slow
@pytest.mark.parametrize("n", [10, 40, 160])
def test_in_larger_simulations_too(n: int) -> None:
    found = trial(n_questions=1000, n=n, seed=1)
    assert found.squared < found.of_humans
    assert found.squared == pytest.approx(found.promised, rel=0.06)
    assert found.p_coverage > 0.01
    assert found.surprise == pytest.approx(1.0, abs=0.06)


def test_an_overconfident_prediction_is_seen_by_all() -> None:
    found = trial(confidence=6.0)
    assert found.squared > 1.2 * found.of_humans
    assert found.squared > 3 * found.promised
    assert found.p_coverage < 1e-9
    assert found.surprise > 2 and found.too_sure


@pytest.mark.parametrize("confidence", [1.0, 6.0])
def test_widened_errors_make_good_for_an_overconfident_prediction(confidence: float) -> None:
    found = trial(confidence, widen=True)
    assert found.widened == pytest.approx(confidence**2, rel=0.3)
    assert found.squared < 0.75 * found.of_humans
    assert found.squared == pytest.approx(found.promised, rel=0.15)
    assert found.p_coverage > 0.01


def test_answers_that_no_widening_reaches() -> None:
    draws = np.array([0.5, 0.5]) + 1e-6 * np.random.default_rng(0).normal(size=(50, 1, 1)) * [1, -1]
    shares = one_question(draws, "A")
    human = place_human(answers(shares, np.array([1.0, 0.0]), np.full(2, 5000.0)), shares)
    with pytest.raises(FitError, match="these are further off"):
        combine(shares, human, widen=True)


def test_cells_without_people_learn_from_those_with() -> None:
    rng = np.random.default_rng(4)
    shares = one_question(shared_error_draws(rng, 1000, 3, [0.3, 0.7]), "AAA")
    p, n = np.array([0.6, 0.4] + [np.nan] * 4), np.array([200.0, 200.0] + [np.nan] * 4)
    found = combine(shares, place_human(answers(shares, p, n), shares))
    table = found.table
    assert list(table["n_human"]) == [200, 200, 0, 0, 0, 0]
    assert (table["n_others"][2:] > 5).all() and np.allclose(table["n_others"][:2], 0)
    parts = table["n_llm"] + table["n_human"] + table["n_others"]
    np.testing.assert_allclose(parts, table["n_total"])
    assert (table["p_comb"][[2, 4]] > 0.45).all() and found.counts["human_cells"] == 1
    sums = found.shares.keys.assign(p=found.shares.draws[0]).groupby(CELL_KEY)["p"].sum()
    np.testing.assert_allclose(sums, 1.0)
    # Without any respondents at all, the prediction stays as it was.
    nobody = place_human(answers(shares, p, n), shares)._replace(
        shares=np.full(6, np.nan), n=np.full(6, np.nan)
    )
    same = combine(shares, nobody).table
    np.testing.assert_allclose(same["p_comb"], same["p_cal"])
    np.testing.assert_allclose(same["n_total"], same["n_llm"])


def test_shares_below_zero_are_clipped_and_counted() -> None:
    # The answers are beyond what any draw has, and the second group goes along with the first.
    u = np.random.default_rng(5).uniform(-1, 1, 400)
    first, second = 0.3 + 0.25 * u, 0.1 + 0.095 * u
    shares = one_question(
        np.stack([first, 1 - first, second, 1 - second], 1).reshape(-1, 2, 2), "AA"
    )
    p, n = np.array([0.0, 1.0, np.nan, np.nan]), np.array([4000.0, 4000.0, np.nan, np.nan])
    found = combine(shares, place_human(answers(shares, p, n), shares))
    np.testing.assert_allclose(found.table["p_comb"][2:], [0.0, 1.0])
    ends = found.table[["p_comb", "p_comb_lo", "p_comb_hi"]].to_numpy()
    assert ends.min() >= 0 and ends.max() <= 1
    assert found.counts["cells_with_a_share_clipped_to_0_or_1"] == 1


def test_points_cannot_be_updated() -> None:
    rng = np.random.default_rng(6)
    shares = one_question(shared_error_draws(rng, 10, 1, [0.3, 0.7]), "A")
    points = GroupShares(shares.keys, shares.point[None], joint=False)
    human = place_human(answers(shares, np.array([0.5, 0.5]), np.full(2, 9.0)), shares)
    with pytest.raises(DataError, match="by joint draws"):
        combine(points, human)


CELL = pd.DataFrame(
    {
        "survey": "s", "question_id": "q", "attribute": "A", "group": "a0",
        "option_index": [0, 1], "p_human": [0.25, 0.75], "n_human": 8.0,
    }
)  # fmt: skip


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (CELL.drop(columns="n_human"), "no column n_human"),
        (CELL[:0], "no row"),
        (CELL.assign(n_human=[8.0, 9.0]), "n_human is one number a cell"),
        (CELL.assign(n_human=0.5), "from 1: .*found 0.5"),
        (CELL.assign(n_human=np.nan), "rows 0-1 .*found nan"),
        (CELL.assign(p_human=[25, 75]), "not per cent"),
        (CELL.assign(p_human=[0.25, 0.65]), "found 0.9;"),
        (CELL.assign(p_human=["some", "0.5"]), "found 'some'"),
        (CELL.assign(option_index=0), "more than once"),
        (
            CELL.assign(option_index=[0, 7]),
            "row 1: .*s/q/A/a0/7 is not predicted, s/q/A/a0/1 has no share",
        ),
        (CELL.assign(group="z"), "none among 1 human cells"),
    ],
)
def test_bad_human_answers(table: pd.DataFrame, said: str) -> None:
    shares = one_question(np.full((2, 1, 2), 0.5), "A")
    with pytest.raises(DataError, match=said):
        place_human(table, shares)


def test_refusals_are_dropped_and_settings_repeat_the_same_people() -> None:
    shares = one_question(np.full((2, 1, 2), 0.5), "A")
    whole = pd.DataFrame({**CELL.iloc[0], "option_index": [0, 1, 9], "p_human": [0.2, 0.6, 0.2]})
    whole["option_kind"] = ["substantive", "substantive", "refused"]
    other = whole.assign(question_id="elsewhere")
    unasked = other.assign(group="b", p_human=np.nan)
    human = place_human(pd.concat([whole, whole, other, unasked]), shares)
    np.testing.assert_allclose(human.shares, [0.25, 0.75])
    np.testing.assert_allclose(human.n, 8 * 0.8)
    assert human.counts == {
        "human_non_substantive_options_dropped": 2,
        "human_cells_renormalised": 2,
        "human_cells_without_substantive_answer": 0,
        "human_cells_not_asked": 1,
        "human_cells_not_predicted": 1,
        "human_cells": 1,
        "human_cells_in_training": 0,
        "human_cells_anchored": 0,
    }
