"""Prediction-powered population shares: another implementation's numbers, and simulation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from populations import KEY, one_question, shared_error_draws
from ppi_reference import CHOSE, PEOPLE, PREDICTED, RESPONDENTS
from scipy.stats import binomtest

from calib.draws import GroupShares
from calib.errors import DataError
from calib.population.frame import Frame
from calib.population.human import Human, place_human
from calib.population.ppi import prediction_powered
from calib.survey import Group

GROUPS = [Group("A", f"a{number}") for number in range(3)]
FRAME = Frame(dict(zip(GROUPS, map(float, PEOPLE), strict=True)), {})
# Printed by ppi_reference.py: lambda, estimate, low, high of the first two options.
REFERENCE = [
    (0.5, [0.295, 0.315], [0.2218674408, 0.2383012557], [0.3681325592, 0.3916987443]),
    (1.0, [0.26, 0.31], [0.1880148039, 0.2332847141], [0.3319851961, 0.3867152859]),
]
BEST_LAMBDA = 0.8308


def case(predicted: list[list[float]] = PREDICTED) -> tuple[GroupShares, Human]:
    shares = one_question(np.array([predicted]), "AAA")
    chose, n = np.array(CHOSE, dtype=float), np.repeat(np.array(RESPONDENTS, dtype=float), 3)
    table = shares.keys[KEY].assign(p_human=chose.ravel() / n, n_human=n)
    return shares, place_human(table, shares)


@pytest.mark.parametrize(("power", "point", "low", "high"), REFERENCE)
def test_the_numbers_of_the_authors_package(
    power: float, point: list[float], low: list[float], high: list[float]
) -> None:
    shares, human = case()
    found = prediction_powered(shares, human, FRAME, power=power).table
    np.testing.assert_allclose(found["p_comb"][:2], point, atol=1e-10)
    # They divide variances by n, here it is n − 1; and their population is finite.
    half = (np.array(high) - np.array(low)) / 2 * np.sqrt(100 / 99)
    np.testing.assert_allclose(found["p_comb_hi"][:2] - found["p_comb"][:2], half, rtol=1e-5)
    np.testing.assert_allclose(found["p_comb"][:2] - found["p_comb_lo"][:2], half, rtol=1e-5)


def test_lambda_leaves_the_least_variance_and_shares_sum_to_one() -> None:
    shares, human = case()
    found = prediction_powered(shares, human, FRAME).table
    np.testing.assert_allclose(found["lambda"], BEST_LAMBDA, atol=1e-4)
    assert found["p_comb"].sum() == pytest.approx(1.0)
    assert found["n_human"].eq(100).all() and (found["n_total"] > 100).all()
    np.testing.assert_allclose(found["p_human"], [0.33, 0.32, 0.35])
    np.testing.assert_allclose(found["p_pop"], [0.345, 0.275, 0.38])


@pytest.mark.parametrize(
    "predicted", [[[0.2, 0.3, 0.5]] * 3, [[0.6, 0.3, 0.1], [0.1, 0.3, 0.6], [0.6, 0.3, 0.1]]]
)
def test_predictions_that_say_nothing_or_the_contrary_leave_the_human_shares(
    predicted: list[list[float]],
) -> None:
    shares, human = case(predicted)
    found = prediction_powered(shares, human, FRAME)
    np.testing.assert_allclose(found.table["p_comb"], found.table["p_human"])
    np.testing.assert_allclose(found.table["n_total"], found.table["n_human"])
    assert found.counts["estimates_with_lambda_0"] == 3


class Trial(NamedTuple):
    """Simulated surveys of one population, a question a survey."""

    p_coverage: float
    p_coverage_untied: float
    """The same for predictions alone, with an interval as wide."""
    gain: float
    """Squared error of the human shares over that of the combination."""
    told: float
    """What n_total/n_human says that it is."""


def trial(predicted: np.ndarray, n: int = 300, n_surveys: int = 400, seed: int = 0) -> Trial:
    rng = np.random.default_rng(seed)
    people, true = np.array([0.5, 0.3, 0.2]), np.array([[0.9, 0.1], [0.45, 0.55], [0.1, 0.9]])
    one = one_question(predicted[None], "AAA")
    keys, p, size = [], [], []
    for number in range(n_surveys):
        asked = np.maximum(rng.multinomial(n, people), 1)
        chose = np.stack([rng.multinomial(m, of) for m, of in zip(asked, true, strict=True)])
        keys.append(one.keys.assign(question_id=f"q{number:03}"))
        p.append((chose / asked[:, None]).ravel())
        size.append(np.repeat(asked, 2).astype(float))
    shares = GroupShares(pd.concat(keys, ignore_index=True), np.tile(one.draws, n_surveys), False)
    table = shares.keys[KEY].assign(p_human=np.concatenate(p), n_human=np.concatenate(size))
    found = prediction_powered(shares, place_human(table, shares), FRAME_OF_TRIAL).table
    rows, truth = found[found["option_index"] == 0], float(people @ true[:, 0])
    half = rows["p_comb_hi"] - rows["p_comb"]

    def coverage(centre: pd.Series) -> float:
        inside = int(((centre - truth).abs() <= half).sum())
        return float(binomtest(inside, len(rows), 0.9).pvalue)

    squared = [float(((rows[name] - truth) ** 2).mean()) for name in ("p_human", "p_comb")]
    told = float((rows["n_total"] / rows["n_human"]).mean())
    return Trial(coverage(rows["p_comb"]), coverage(rows["p_pop"]), squared[0] / squared[1], told)


FRAME_OF_TRIAL = Frame(dict(zip(GROUPS, [0.5, 0.3, 0.2], strict=True)), {})


@pytest.mark.parametrize(
    ("predicted", "least"),
    [
        (np.array([[0.85, 0.15], [0.5, 0.5], [0.15, 0.85]]), 1.3),
        # Sure of itself, and wrong.
        (np.array([[0.3, 0.7], [0.2, 0.8], [0.1, 0.9]]), 1.1),
        (np.array([[0.2, 0.8], [0.9, 0.1], [0.5, 0.5]]), 0.95),
    ],
)
def test_coverage_holds_whatever_the_predictions(predicted: np.ndarray, least: float) -> None:
    found = trial(predicted)
    assert found.p_coverage > 0.01
    assert found.gain == pytest.approx(found.told, rel=0.15)
    assert found.gain > least


def test_predictions_without_the_correction_do_not_cover() -> None:
    assert trial(np.array([[0.3, 0.7], [0.2, 0.8], [0.1, 0.9]])).p_coverage_untied < 1e-12


def test_too_few_respondents_and_missing_groups() -> None:
    shares, human = case()
    with pytest.raises(DataError, match="a sample has two respondents"):
        prediction_powered(shares, human._replace(n=human.n / 100), FRAME)
    fewer = Frame(dict.fromkeys(GROUPS[:2], 1.0), {})
    with pytest.raises(DataError, match="not A: a2 in 1 questions"):
        prediction_powered(shares, human, fewer)


def test_draws_are_as_good_as_their_mean() -> None:
    rng = np.random.default_rng(0)
    shares = one_question(shared_error_draws(rng, 50, 3, [0.2, 0.3, 0.5]), "AAA")
    _, human = case()
    points = GroupShares(shares.keys, shares.point[None], joint=False)
    pd.testing.assert_frame_equal(
        prediction_powered(shares, human, FRAME).table,
        prediction_powered(points, human, FRAME).table,
    )
