"""Shares of groups that add up to a topline, against a general solver and in their limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import root

from calib.margins import TOLERANCE, shares_with_margins


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: np.ndarray = weights / weights.sum(axis=-1, keepdims=True)
    return shares


def random_case(
    seed: int, spread: float = 1.0, n_draws: int = 20
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Deviations, weights and toplines."""
    rng = np.random.default_rng(seed)
    n_groups, n_options = rng.integers(1, 8), rng.integers(2, 7)
    deviation = spread * rng.standard_normal((n_draws, n_groups, n_options))
    weight = rng.dirichlet(np.full(n_groups, 2.0))
    return deviation, weight, rng.dirichlet(np.ones(n_options), size=n_draws)


def everywhere(deviation: np.ndarray) -> np.ndarray:
    return np.ones(deviation.shape[1:], dtype=bool)


@pytest.mark.parametrize("seed", range(8))
def test_the_solution_is_that_of_a_general_solver(seed: int) -> None:
    deviation, weight, topline = random_case(seed, n_draws=3)
    found = shares_with_margins(deviation, everywhere(deviation), weight, topline)
    for draw, deviations in enumerate(deviation):

        def gap(free: np.ndarray, at: int = draw, by: np.ndarray = deviations) -> np.ndarray:
            shares = softmax(np.append(free, 0.0) + by)
            return np.asarray((weight @ shares - topline[at])[:-1])

        # The last option's logit is free to choose.
        solved = root(gap, np.zeros(len(topline[draw]) - 1), tol=1e-12)
        assert solved.success
        expected = softmax(np.append(solved.x, 0.0) + deviations)
        np.testing.assert_allclose(found.shares[draw], expected, atol=1e-8)


@given(seed=st.integers(0, 10_000), spread=st.floats(0.0, 4.0))
def test_groups_add_up_to_the_topline_and_keep_their_odds_ratios(seed: int, spread: float) -> None:
    deviation, weight, topline = random_case(seed, spread)
    shares, reached = shares_with_margins(deviation, everywhere(deviation), weight, topline)
    assert reached.all()
    np.testing.assert_allclose(shares.sum(axis=2), 1.0, atol=1e-12)
    mean = np.einsum("g,dgc->dc", weight, shares)
    np.testing.assert_allclose(mean, topline, atol=TOLERANCE, rtol=0)
    logits = np.log(shares) - deviation
    ratios = logits - logits[:, :, :1]
    np.testing.assert_allclose(ratios, ratios[:, :1].repeat(len(weight), axis=1), atol=1e-6)


def test_without_deviations_every_group_has_the_topline() -> None:
    _, weight, topline = random_case(1)
    flat = np.zeros((len(topline), len(weight), topline.shape[1]))
    shares, _ = shares_with_margins(flat, everywhere(flat), weight, topline)
    np.testing.assert_allclose(shares, topline[:, None].repeat(len(weight), axis=1), atol=1e-12)


def test_a_topline_as_expected_leaves_the_expectation() -> None:
    deviation, weight, _ = random_case(2)
    question = np.random.default_rng(3).standard_normal((len(deviation), 1, deviation.shape[2]))
    expected = softmax(question + deviation)
    topline = np.einsum("g,dgc->dc", weight, expected)
    shares, _ = shares_with_margins(deviation, everywhere(deviation), weight, topline)
    np.testing.assert_allclose(shares, expected, atol=1e-8)


def test_adding_to_all_groups_changes_nothing() -> None:
    deviation, weight, topline = random_case(4)
    shift = 900.0 * np.arange(deviation.shape[2])
    one, other = (
        shares_with_margins(value, everywhere(value), weight, topline)
        for value in (deviation, deviation + shift)
    )
    np.testing.assert_allclose(other.shares, one.shares, atol=1e-9)


def test_an_option_that_nobody_takes_and_empty_slots_have_no_share() -> None:
    deviation, mask = np.zeros((1, 3, 3)), np.array([[True] * 3, [True] * 3, [False] * 3])
    deviation[0, 0] = [1.0, 0.0, 2.0]
    shares, reached = shares_with_margins(
        deviation, mask, np.array([0.3, 0.7, 0.0]), np.array([[0.4, 0.6, 0.0]])
    )
    assert reached.all()
    assert np.all(shares[0, :, 2] == 0) and np.all(shares[0, 2] == 0)
    np.testing.assert_allclose(shares[0].T @ [0.3, 0.7, 0.0], [0.4, 0.6, 0.0], atol=1e-10)


def test_structural_zeros_stay_and_a_topline_beyond_them_is_told() -> None:
    # Option 2 was offered to the first group only, which is 0.3 of all.
    mask = np.array([[True, True, True], [True, True, False]])
    weight = np.array([0.3, 0.7])
    topline = np.array([[0.5, 0.3, 0.2], [0.5, 0.1, 0.4]])
    shares, reached = shares_with_margins(np.zeros((2, 2, 3)), mask, weight, topline)
    assert reached.tolist() == [True, False]
    np.testing.assert_allclose(shares[:, 0, 2], [0.2 / 0.3, 1.0], atol=1e-2)
    assert np.all(shares[:, 1, 2] == 0)
    # What the first group leaves of the others has their odds.
    assert shares[0, 0, 0] / shares[0, 0, 1] == pytest.approx(0.5 / 0.3)


def test_draws_do_not_depend_on_each_other() -> None:
    deviation, weight, topline = random_case(5, 3.0)
    together = shares_with_margins(deviation, everywhere(deviation), weight, topline).shares
    alone = shares_with_margins(deviation[4:5], everywhere(deviation), weight, topline[4:5])
    np.testing.assert_array_equal(together[4:5], alone.shares)
