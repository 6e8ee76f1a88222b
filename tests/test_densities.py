"""The Dirichlet regression's density and derivative against scipy."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import digamma, gammaln
from scipy.stats import beta, dirichlet_multinomial

from calib.densities import (
    dirichlet_logit_density,
    dirichlet_multinomial_kernel,
    log_gamma,
    log_rising,
)
from calib.formulas import (
    FLOOR,
    Common,
    Covariates,
    GroupEffects,
    design,
    deviation,
    peer_roots,
    question_mean,
    softmax,
)
from calib.prior import general_prior
from calib.scores import log_ways
from calib.starting import question_start, slope_covariance


@pytest.fixture(autouse=True)
def _double_precision():  # type: ignore[no-untyped-def]
    with jax.enable_x64(True):
        yield


def test_log_rising_and_its_slope_agree_with_scipy() -> None:
    rng = np.random.default_rng(0)
    a = 10 ** rng.uniform(-6, 3, 4000)
    k = np.where(rng.random(4000) < 0.2, 0.0, 10 ** rng.uniform(-2, 4, 4000))
    value = log_rising(jnp.asarray(a), jnp.asarray(k))
    slope = jax.grad(lambda a: log_rising(a, jnp.asarray(k)).sum())(jnp.asarray(a))
    np.testing.assert_allclose(value, gammaln(a + k) - gammaln(a), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(slope, digamma(a + k) - digamma(a), rtol=1e-10, atol=1e-10)


def test_log_density_agrees_with_scipy_whatever_the_padding() -> None:
    rng = np.random.default_rng(1)
    for n_options in (2, 3, 7):
        counts = rng.multinomial(40, np.ones(n_options) / n_options)
        concentration = rng.gamma(2.0, 3.0, n_options)
        padded = np.pad(counts.astype(float), (0, 3)), np.pad(concentration, (0, 3))
        mask = np.arange(n_options + 3) < n_options
        found = dirichlet_multinomial_kernel(
            jnp.asarray(padded[0]), jnp.asarray(padded[1]), jnp.asarray(mask)
        )
        expected = dirichlet_multinomial.logpmf(counts, concentration, 40)
        assert float(found) + log_ways(counts[None].astype(float))[0] == pytest.approx(
            expected, abs=1e-9
        )


def test_an_empty_cell_has_log_density_zero() -> None:
    nothing = jnp.zeros((1, 3))
    density = dirichlet_multinomial_kernel(nothing, nothing, jnp.zeros((1, 3), bool))
    assert float(density[0]) == 0.0


def test_log_gamma_and_its_slope_agree_with_scipy() -> None:
    a = 10 ** np.random.default_rng(2).uniform(-8, 5, 4000)
    slope = jax.grad(lambda a: log_gamma(a).sum())(jnp.asarray(a))
    np.testing.assert_allclose(log_gamma(jnp.asarray(a)), gammaln(a), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(slope, digamma(a), rtol=1e-10, atol=1e-10)


def test_question_error_is_dirichlet_in_its_contrasts() -> None:
    # For two options the logit difference x has the density of a Beta variable's logit,
    # Beta(a, b) pdf times p(1-p); differences of log densities are free of the constant.
    exists = jnp.ones((1, 2), bool)
    concentration = jnp.array([[1.3, 4.0]])

    def density(x: float, weight: tuple[float, float]) -> float:
        # Logits whose weighted mean is zero, so that only the contrast counts.
        logits = jnp.array([[x * weight[1], -x * weight[0]]])
        return float(dirichlet_logit_density(logits, concentration, jnp.array([weight]), exists))

    def expected(x: float) -> float:
        p = 1 / (1 + np.exp(-x))
        return float(beta.logpdf(p, 1.3, 4.0) + np.log(p * (1 - p)))

    for weight in ((0.5, 0.5), (0.1, 0.9)):
        for x in (-3.0, 0.4, 2.0):
            found = density(x, weight) - density(0.0, weight)
            assert found == pytest.approx(expected(x) - expected(0.0), abs=1e-12)


def test_a_question_error_is_the_same_whatever_pads_it() -> None:
    logits, concentration = jnp.array([[0.4, -0.1, -0.3]]), jnp.array([[3.0, 1.0, 0.2]])
    weight, exists = jnp.array([[0.2, 0.5, 0.3]]), jnp.ones((1, 3), bool)
    alone = dirichlet_logit_density(logits, concentration, weight, exists)
    wide = [jnp.pad(array, ((0, 2), (0, 2))) for array in (logits, concentration, weight, exists)]
    assert float(dirichlet_logit_density(*wide)) == pytest.approx(float(alone), abs=1e-12)


def test_formulas_say_the_same_in_numpy_and_jax() -> None:
    rng = np.random.default_rng(4)
    n_sources, n_questions, n_slots, n_options, n_groups = 2, 5, 3, 4, 6
    mask = np.ones((n_questions, n_slots, n_options), bool)
    mask[1, :, 3] = mask[2, 1] = mask[3, 2, 0] = False
    probs = np.where(mask, rng.dirichlet(np.ones(4), (n_sources, n_questions, n_slots)), 0.0)
    data = Covariates(
        probs=probs,
        mask=mask,
        group=rng.integers(n_groups, size=(n_questions, n_slots)),
        peers=peer_roots(rng.integers(2, size=(n_questions, n_slots)), mask),
        place=rng.normal(size=(n_questions, n_options)),
        curve=rng.normal(size=(n_questions, n_options)),
        shape=rng.integers(2, size=n_questions),
        label=rng.integers(3, size=(n_questions, n_options)),
    )
    floors = rng.normal(-4, 1, (7, n_sources))
    common = Common(
        rng.normal(size=(7, n_sources)), rng.normal(size=7), rng.normal(size=7),
        rng.normal(size=(7, 2, n_options)), rng.normal(size=(7, 3)),
    )  # fmt: skip
    effects = GroupEffects(*rng.normal(size=(2, 7, n_sources)), *rng.normal(size=(4, 7, n_groups)))

    def shares(xp: Any, floor: Any, common: Common, effects: GroupEffects) -> Any:
        parts = design(xp, data, floor)
        mean = question_mean(xp, data, parts, common)
        logits = xp.log(xp.where(mean > 0, mean, 1.0))[..., :, None, :]
        return softmax(xp, logits + deviation(xp, data, parts, effects), data.mask)

    at_once = shares(np, floors, common, effects)
    for draw in range(7):
        one = shares(
            jnp,
            floors[draw],
            Common(*(values[draw] for values in common)),
            GroupEffects(*(values[draw] for values in effects)),
        )
        np.testing.assert_allclose(one, at_once[draw], atol=1e-12)
    np.testing.assert_allclose(at_once.sum(axis=-1)[:, mask.any(axis=-1)], 1.0, atol=1e-12)
    assert np.all(at_once[:, ~mask] == 0)


def test_the_start_is_near_the_answers_and_its_units_are_of_their_size() -> None:
    # 400 answers, half and half: the logits' difference has variance 4/400, less for the
    # prior, more for the cell's own error; without that error the unit says so.
    counts = np.zeros((1, 1, 2))
    counts[0, 0] = 200.0
    about = question_start(counts, np.ones((1, 1, 2), bool), 0.1)
    np.testing.assert_allclose(about.logits, 0.0, atol=1e-12)
    covariance = about.unit[0] @ about.unit[0].T
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    effective = 400 * 81 / 480 + 1 + 8
    assert variance == pytest.approx(1 / (effective / 4 + 0.25), rel=1e-9)


def cells_of(attributes: list[int], probs: np.ndarray) -> Covariates:
    """One question of several groups, all options offered."""
    mask = np.ones((1, *probs.shape), bool)
    n_slots, n_options = probs.shape
    return Covariates(
        probs=probs[None, None],
        mask=mask,
        group=np.arange(n_slots)[None],
        peers=peer_roots(np.array([attributes]), mask),
        place=np.zeros((1, n_options)),
        curve=np.zeros((1, n_options)),
        shape=np.zeros(1, int),
        label=np.zeros((1, n_options), int),
    )


def test_groups_deviate_from_the_mean_of_their_attribute() -> None:
    # Two parties that differ by party, and two sexes that the LLM puts elsewhere though they
    # are the same people: only the first is a difference of groups, the second a contradiction.
    probs = np.array([[0.8, 0.2], [0.5, 0.5], [0.1, 0.9], [0.1, 0.9]])
    parts = design(np, cells_of([0, 0, 1, 1], probs), np.array([np.log(FLOOR)]))
    logs = np.log(probs + FLOOR)
    logs -= logs.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(parts.between[0, 0], logs.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(parts.within[0, 0, :2], logs[:2] - logs[:2].mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(parts.within[0, 0, 2:], 0.0, atol=1e-12)
    whole = parts.between[:, :, None] + parts.within + parts.contradiction
    np.testing.assert_allclose(whole[0, 0], logs, atol=1e-12)


def test_a_group_alone_in_its_attribute_deviates_from_the_question() -> None:
    probs = np.array([[0.8, 0.2], [0.5, 0.5], [0.1, 0.9]])
    parts = design(np, cells_of([0, 0, 1], probs), np.array([np.log(FLOOR)]))
    logs = np.log(probs + FLOOR)
    logs -= logs.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(parts.within[0, 0, 2], logs[2] - logs.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(parts.contradiction[0, 0, 2], 0.0, atol=1e-12)


def test_a_step_from_nothing_to_all_is_as_long_whatever_the_floor() -> None:
    probs = np.array([[1.0, 0.0], [0.6, 0.4]])
    steps = []
    for floor in (0.001, FLOOR, 0.2):
        ends = design(np, cells_of([0, 1], probs), np.array([np.log(floor)]))
        logs = ends.between[0, 0] + ends.within[0, 0, 0] + ends.contradiction[0, 0, 0]
        steps.append(logs[0] - logs[1])
    np.testing.assert_allclose(steps, np.log((1 + FLOOR) / FLOOR), rtol=1e-12)


def test_of_sources_that_say_the_same_only_the_sum_of_slopes_is_told() -> None:
    alone = cells_of([0, 0, 1, 1], np.array([[0.8, 0.2], [0.5, 0.5], [0.1, 0.9], [0.3, 0.7]]))
    twice = alone._replace(probs=alone.probs.repeat(2, axis=0))
    counts = np.full((1, 4, 2), 50.0)
    about = question_start(counts, alone.mask, 1.0)
    prior = general_prior(2, 4, 1, 2)
    found = slope_covariance(twice, counts, about, prior)
    assert set(found) == {"beta_between", "beta_within", "beta_contradiction"}
    for site, covariance in found.items():
        variance = getattr(prior, site).scale[0] ** 2
        assert covariance[0, 0] - covariance[0, 1] == pytest.approx(variance)
        assert covariance.sum() < 2 * variance
    assert slope_covariance(alone, counts, about, general_prior(1, 4, 1, 2)) == {}
