"""Raking against closed forms, and brute force on the entropy problem that it solves."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from calib.errors import DataError, FitError
from calib.population.raking import rake

CELLS = pd.DataFrame({"age": list("yyoo"), "sex": list("fmfm"), "size": [10.0, 20.0, 40.0, 5.0]})
MARGINS = {"age": {"y": 60.0, "o": 40.0}, "sex": {"f": 45.0, "m": 55.0}}


def test_one_margin_is_a_ratio() -> None:
    raked = rake(CELLS, {"age": {"y": 60.0, "o": 40.0}})
    np.testing.assert_allclose(raked.weights, [20.0, 40.0, 40 * 40 / 45, 40 * 5 / 45])
    assert raked.iterations == 1 and raked.error < 1e-12


def test_margins_are_reached_and_odds_ratios_kept() -> None:
    w = rake(CELLS, MARGINS).weights
    np.testing.assert_allclose([w[0] + w[1], w[0] + w[2]], [60.0, 45.0], rtol=1e-7)
    assert w[0] * w[3] / (w[1] * w[2]) == pytest.approx(10 * 5 / (20 * 40))


def test_independence_from_equal_weights() -> None:
    w = rake(CELLS.drop(columns="size"), MARGINS).weights
    np.testing.assert_allclose(w, [60 * 0.45, 60 * 0.55, 40 * 0.45, 40 * 0.55])


def test_three_margins_of_respondents_against_brute_force() -> None:
    rng = np.random.default_rng(0)
    people = pd.DataFrame({name: rng.choice(list("abc"), 24) for name in ("x", "y", "z")})
    people["w"] = rng.uniform(0.5, 2.0, 24)
    margins = {
        "x": {"a": 30.0, "b": 40.0, "c": 30.0},
        "y": {"a": 20.0, "b": 50.0, "c": 30.0},
        "z": {"a": 40.0, "b": 35.0, "c": 25.0},
    }
    raked = rake(people, margins, weight="w")
    start = people["w"].to_numpy()
    # The dual of min Σ w log(w/w0) − w subject to Aw = t: w = w0 exp(Aᵀλ), unbounded in λ.
    rows = [(people[name] == one).to_numpy(float) for name, of in margins.items() for one in of]
    design = np.array(rows)
    target = np.array([size for of in margins.values() for size in of.values()])
    best = minimize(
        lambda dual: start @ np.exp(dual @ design) - dual @ target,
        np.zeros(9), jac=lambda dual: design @ (start * np.exp(dual @ design)) - target,
        method="BFGS", options={"gtol": 1e-10, "maxiter": 2000},
    )  # fmt: skip
    expected = start * np.exp(best.x @ design)
    np.testing.assert_allclose(raked.weights, expected, rtol=1e-5)
    # Twin: other weights that reach the margins are further from the seed.
    other = rake(people.drop(columns="w"), margins).weights
    np.testing.assert_allclose(design @ other, target)

    def distance(w: np.ndarray) -> float:
        return float((w * np.log(w / start) - w + start).sum())

    assert distance(raked.weights) < distance(other) - 0.1


@pytest.mark.parametrize(
    ("seed", "margins", "said"),
    [
        (CELLS, {}, "none"),
        (CELLS, {"race": {"a": 1.0}}, "column of the seed"),
        (CELLS, {"age": {"y": 60.0}}, "o in one of them"),
        (CELLS, {"age": {"y": 60.0, "o": -1.0}}, "-1 of o"),
        (CELLS, MARGINS | {"sex": {"f": 45.0, "m": 56.0}}, "100 by age, 101 by sex"),
        (CELLS.assign(size=[1, np.nan, 1, -1]), MARGINS, "column size, rows 1, 3"),
        (CELLS.assign(size=0.0), MARGINS, "4 units of 0"),
    ],
)
def test_bad_seeds_and_margins(
    seed: pd.DataFrame, margins: dict[str, dict[str, float]], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        rake(seed, margins)


def test_margins_out_of_reach() -> None:
    with pytest.raises(FitError, match="within 1e-09 of its target; after 2000 passes"):
        rake(CELLS.assign(size=[0.0, 1.0, 1.0, 0.0]), MARGINS)
