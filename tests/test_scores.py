"""Scores against other implementations, brute force and closed forms."""

from __future__ import annotations

from itertools import product
from math import comb

import numpy as np
import pytest
from builders import groups, index, opinions, question
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import kstest, multinomial, wasserstein_distance

from calib import scores
from calib.opinions import close


def one_row(*shares: float) -> np.ndarray:
    return np.array([shares], dtype=float)


def everywhere(array: np.ndarray) -> np.ndarray:
    return np.ones(array.shape, dtype=bool)


@given(seed=st.integers(0, 2**32 - 1), n_options=st.integers(2, 9), padding=st.integers(0, 3))
def test_w1_is_scipys_on_any_scale(seed: int, n_options: int, padding: int) -> None:
    rng = np.random.default_rng(seed)
    # Whole codes up to 12: gaps and ties are common, order is none.
    codes = rng.integers(0, 12, n_options).astype(float)
    codes[:2] = [0.0, 12.0]
    rng.shuffle(codes)
    values = question("q", values=codes.tolist()).places
    p, q = close(rng.gamma(0.3, size=(2, n_options)) + 1e-9, np.ones((2, n_options), dtype=bool))
    mask = np.arange(n_options + padding) < n_options
    places = np.append(values, np.full(padding, np.nan))
    pad = np.zeros(padding)
    ours = scores.w1(np.append(p, pad)[None], np.append(q, pad)[None], places[None], mask[None])
    assert ours[0] == pytest.approx(wasserstein_distance(values, values, p, q), abs=1e-12)


def test_w1_check_fails_where_gaps_are_ignored() -> None:
    values, p, q = np.array([0.0, 0.1, 1.0]), np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    places = np.linspace(0, 1, 3)[None]
    wrong = scores.w1(p[None], q[None], places, everywhere(places))
    assert wrong[0] != pytest.approx(wasserstein_distance(values, values, p, q), abs=1e-3)


def test_w1_of_a_nominal_row_is_total_variation() -> None:
    of_index = index([question("a", 3, "nominal"), question("b", 4)])
    rng = np.random.default_rng(1)
    p, q = opinions(of_index, rng).probs, opinions(of_index, rng).probs
    distance = scores.SCORES["w1"](p, q, of_index)
    assert distance[:2] == pytest.approx(scores.tv(p, q)[:2])
    assert np.all(np.abs(distance[2:] - scores.tv(p, q)[2:]) > 1e-3)


def test_w1_of_options_that_were_not_offered() -> None:
    # The middle option was not offered: its place must not cut the way in two.
    mask = np.array([[True, False, True]])
    distance = scores.w1(one_row(1, 0, 0), one_row(0, 0, 1), one_row(0, np.nan, 1), mask)
    assert distance == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(5))
def test_jsd_is_scipys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p, q = rng.dirichlet(np.full(5, 0.4), size=(2, 30))
    p[0] = np.eye(5)[0]
    assert scores.jsd(p, q) == pytest.approx(jensenshannon(p, q, axis=1), abs=1e-12)


def test_kl_floors_the_prediction_and_ignores_options_nobody_chose() -> None:
    floored = np.array([0.001, 1.0]) / 1.001
    expected = 0.5 * np.log(0.5 / floored[0]) + 0.5 * np.log(0.5 / floored[1])
    p, q = one_row(0.5, 0.5, 0), one_row(0, 1, 0)
    mask = np.array([[True, True, False]])
    assert scores.kl_1e3(p, q, mask) == pytest.approx(expected)
    assert scores.kl_1e3(one_row(0, 1, 0), q, mask) == pytest.approx(np.log(1.001))


def test_rps_closed_forms() -> None:
    ends = one_row(1, 0, 0, 0), one_row(0, 0, 0, 1)
    places = np.linspace(0, 1, 4)[None]
    assert scores.rps(*ends, places, everywhere(places)) == pytest.approx(1.0)
    # For two options it is the squared error; gaps do not count.
    two = one_row(0.3, 0.7), one_row(0.9, 0.1)
    assert scores.rps(*two, one_row(0, 1), everywhere(two[0])) == pytest.approx(0.36)
    uneven = one_row(0, 0.01, 0.02, 1)
    p, q = one_row(0.1, 0.2, 0.3, 0.4), one_row(0.4, 0.3, 0.2, 0.1)
    mask = everywhere(p)
    assert scores.rps(p, q, uneven, mask) == pytest.approx(scores.rps(p, q, places, mask))


def test_rps_is_undefined_on_nominal_scales_and_single_categories() -> None:
    nowhere = np.full((1, 2), np.nan)
    p = one_row(0.5, 0.5)
    assert np.isnan(scores.rps(p, p, nowhere, everywhere(p)))
    assert np.isnan(scores.rps(p, p, np.zeros((1, 2)), everywhere(p)))


@pytest.mark.parametrize("name", scores.SCORES)
def test_laws_of_point_scores(name: str) -> None:
    """Zero of equals, positive else, blind to option order and padding; NaN stays NaN."""
    score, rng = scores.SCORES[name], np.random.default_rng(3)
    asked = [question("a", values=[1, 2, 2, 9]), question("b", 3), question("c", 2)]
    of_index = index(asked, groups(3))
    p, q = (opinions(of_index, rng, concentration=4.0).probs for _ in range(2))
    assert np.all(p[of_index.mask] > scores.KL_FLOOR)
    assert score(p, p, of_index) == pytest.approx(0, abs=1e-12)
    value = score(p, q, of_index)
    assert np.all(value > 1e-4)

    rows = of_index.question_of_row == 0
    turned = index([question("a", values=[9, 2, 1, 2])], groups(3))
    order = [3, 1, 0, 2]
    assert score(p[rows][:, order], q[rows][:, order], turned) == pytest.approx(value[rows])

    narrow = of_index.take(of_index.question_of_row == 2)
    cut = index(narrow.questions, groups(3))
    rows = of_index.question_of_row == 2
    assert cut.mask.shape[1] == 2
    assert score(p[rows, :2], q[rows, :2], cut) == pytest.approx(value[rows])

    unknown = np.where(of_index.mask & (np.arange(9) == 4)[:, None], np.nan, p)
    for left, right in ((unknown, q), (q, unknown)):
        found = score(left, right, of_index)
        assert np.flatnonzero(np.isnan(found)).tolist() == [4]


def test_noise_floor_is_the_enumerated_expectation() -> None:
    p, n = one_row(0.5, 0.3, 0.2), 3
    places, mask = one_row(0, 0.2, 1), everywhere(p)
    expected = np.zeros(3)
    for counts in product(range(n + 1), repeat=3):
        if sum(counts) != n:
            continue
        weight = multinomial.pmf(counts, n, p[0])
        observed = np.array([counts]) / n
        expected += weight * np.array(
            [
                scores.w1(observed, p, places, mask)[0],
                scores.tv(observed, p)[0],
                scores.kl_1e3(observed, p, mask)[0],
            ]
        )
    # 20,000 resamples of a score with deviation below 0.5: three standard errors are 0.011.
    assert mean_floor(p, places, 3.2) == pytest.approx(expected, abs=0.011)
    assert np.all(np.abs(mean_floor(p, places, 6.0) - expected) > 0.011)


def mean_floor(p: np.ndarray, places: np.ndarray, n: float) -> np.ndarray:
    """The floors of one row over 20,000 resamples, most of them in rows beside each other."""
    p, places = np.repeat(p, 2000, axis=0), np.repeat(places, 2000, axis=0)
    floor = scores.noise_floor(p, np.full(2000, n), places, everywhere(p), seed=0, n_draws=10)
    mean: np.ndarray = np.array(floor).mean(axis=1)
    return mean


def test_noise_floor_is_seeded_and_unknown_without_n() -> None:
    of_index = index([question("a", 4)], groups(3))
    p = opinions(of_index, np.random.default_rng(0)).probs
    p[2] = np.nan
    n = np.array([50.0, np.nan, 50.0])
    first = scores.noise_floor(p, n, of_index.places, of_index.mask, seed=5)
    again = scores.noise_floor(p, n, of_index.places, of_index.mask, seed=5)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.isnan(a).tolist() == [False, True, True]


def test_noise_floor_of_fewer_than_one_answer_is_that_of_one() -> None:
    total_variation = mean_floor(one_row(0.7, 0.3), one_row(0, 1), 0.2)[1]
    assert total_variation == pytest.approx(2 * 0.7 * 0.3, abs=0.01)


def test_log_predictive_density_is_the_mean_of_multinomials() -> None:
    rng = np.random.default_rng(2)
    draws = rng.dirichlet(np.ones(3), size=(50, 1))
    counts = np.array([2, 3, 5])
    expected = np.log(np.mean([multinomial.pmf(counts, 10, draw[0]) for draw in draws]))
    density = scores.log_predictive_density(counts[None] / 10, np.array([10.0]), draws)
    assert density == pytest.approx(expected, abs=1e-10)


def test_log_predictive_density_drops_padding_and_knows_the_impossible() -> None:
    draws = np.array([[[0.5, 0.5, 0.0]]])
    n = np.array([4.0])
    same = scores.log_predictive_density(one_row(0.25, 0.75, 0.0), n, draws)
    assert same == pytest.approx(np.log(comb(4, 1) / 16))
    assert scores.log_predictive_density(one_row(0.5, 0.25, 0.25), n, draws) == -np.inf
    unknown = scores.log_predictive_density(one_row(0.5, 0.5, 0.0), np.array([np.nan]), draws)
    assert np.isnan(unknown[0])


def test_energy_score_is_the_double_sum() -> None:
    rng = np.random.default_rng(4)
    draws, p = rng.dirichlet(np.ones(4), size=(7, 2)), rng.dirichlet(np.ones(4), size=2)
    for row in range(2):
        to_truth = np.mean([np.linalg.norm(d[row] - p[row]) for d in draws])
        between = np.mean([np.linalg.norm(a[row] - b[row]) for a in draws for b in draws])
        score = scores.energy_score(p, draws)[row]
        assert score == pytest.approx(to_truth - between / 2, abs=1e-12)


def test_energy_score_prefers_the_true_spread() -> None:
    rng = np.random.default_rng(5)
    truth = rng.dirichlet(np.full(3, 20.0), size=400)
    mean = {}
    for concentration in (2.0, 20.0, 2000.0):
        draws = rng.dirichlet(np.full(3, concentration), size=(100, 400))
        mean[concentration] = scores.energy_score(truth, draws).mean()
    assert min(mean, key=lambda key: mean[key]) == 20.0


def simulated_survey(
    spread: float, answers: int = 40
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Observed shares of so many answers a row; draws whose concentration is wrong by a factor."""
    rng = np.random.default_rng(6)
    truth = rng.dirichlet(np.full(4, 10.0), size=600)
    observed = rng.multinomial(answers, truth) / answers
    draws = rng.dirichlet(np.full(4, 10.0 * spread), size=(400, 600))
    return observed, draws, np.full(600, float(answers)), np.ones((600, 4), dtype=bool)


def cover(spread: float, *, with_sampling: bool = True) -> float:
    observed, draws, n, mask = simulated_survey(spread)
    if with_sampling:
        draws = scores.sampled_shares(draws, n, np.random.default_rng(7))
    return float(scores.coverage(observed, *scores.interval(draws, 0.9), mask).mean())


def test_coverage_is_nominal_where_draws_are_right() -> None:
    # 600 rows of about 3 free shares; the lattice of 40 answers makes intervals a little wide.
    assert 0.89 < cover(1.0) < 0.94


def test_coverage_fails_where_draws_are_too_narrow_or_lack_sampling_noise() -> None:
    assert cover(16.0) < 0.85
    assert cover(1.0, with_sampling=False) < 0.85


def test_coverage_and_width_by_hand() -> None:
    p = np.array([[0.2, 0.8, 0.0], [0.2, 0.3, 0.5], [np.nan, np.nan, np.nan]])
    low, high = np.full((3, 3), 0.1), np.full((3, 3), 0.3)
    mask = np.array([[True, True, False], [True, True, True], [True, True, True]])
    covered = scores.coverage(p, low, high, mask)
    np.testing.assert_allclose(covered, [0.5, 2 / 3, np.nan])
    np.testing.assert_allclose(scores.width(low, high, mask), 0.2)


def test_pit_is_uniform_where_draws_are_right_and_not_where_they_are_narrow() -> None:
    p_values = []
    for spread in (1.0, 16.0):
        observed, draws, n, mask = simulated_survey(spread, answers=200)
        sampled = scores.sampled_shares(draws, n, np.random.default_rng(8))
        transformed = scores.pit(observed, sampled, mask, np.random.default_rng(9))
        p_values.append(kstest(transformed[:, 0], "uniform").pvalue)
    assert p_values[0] > 0.01
    assert p_values[1] < 1e-6


def test_pit_is_unknown_off_the_mask_and_in_unknown_rows() -> None:
    p = np.array([[0.5, 0.5, 0.0], [np.nan, np.nan, np.nan]])
    mask = np.array([[True, True, False], [True, True, True]])
    draws = np.broadcast_to(np.array([0.5, 0.5, 0.0]), (3, 2, 3))
    found = scores.pit(p, draws, mask, np.random.default_rng(0))
    assert np.isnan(found).tolist() == [[False, False, True], [True, True, True]]


def test_sampled_shares_have_the_multinomial_moments() -> None:
    p = np.array([0.2, 0.3, 0.5, 0.0])
    draws = np.broadcast_to(p, (20_000, 2, 4))
    sampled = scores.sampled_shares(draws, np.array([9.7, np.nan]), np.random.default_rng(0))
    np.testing.assert_array_equal(sampled[:, 1], draws[:, 1])
    assert sampled[:, 0].mean(axis=0) == pytest.approx(p, abs=0.004)
    assert sampled[:, 0].var(axis=0) == pytest.approx(p * (1 - p) / 10, abs=0.001)
    assert np.all(sampled[:, 0, 3] == 0)
    np.testing.assert_allclose(sampled.sum(axis=2), 1.0)


def test_sampled_shares_leave_their_input_and_unknown_rows_alone() -> None:
    draws = np.full((5, 2, 2), 0.5)
    draws[:, 1] = np.nan
    before = draws.copy()
    sampled = scores.sampled_shares(draws, np.array([3.0, 3.0]), np.random.default_rng(0))
    np.testing.assert_array_equal(draws, before)
    assert np.isnan(sampled[:, 1]).all()


def test_closable_gap() -> None:
    assert scores.closable_gap(0.3, 0.1, 0.1) == pytest.approx(1.0)
    assert scores.closable_gap(0.3, 0.4, 0.1) == pytest.approx(-0.5)
    assert np.isnan(scores.closable_gap(0.1, 0.0, 0.1))
    assert np.isnan(scores.closable_gap(0.1, 0.0, np.nan))
