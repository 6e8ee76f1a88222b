"""The Dirichlet regression's density and derivative against scipy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import digamma, gammaln
from scipy.stats import dirichlet_multinomial, norm

from calib.models import (
    dirichlet_multinomial_log_density,
    log_rising,
    question_error_density,
)


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
        found = dirichlet_multinomial_log_density(
            jnp.asarray(padded[0]), jnp.asarray(padded[1]), jnp.asarray(mask)
        )
        expected = dirichlet_multinomial.logpmf(counts, concentration, 40)
        assert float(found) == pytest.approx(expected, abs=1e-9)


def test_an_empty_cell_has_log_density_zero() -> None:
    nothing = jnp.zeros((1, 3))
    density = dirichlet_multinomial_log_density(nothing, nothing, jnp.zeros((1, 3), bool))
    assert float(density[0]) == 0.0


def test_question_error_is_normal_in_its_contrasts() -> None:
    # Two options have one contrast, (e1 - e2)/√2 ~ N(0, τ²); differences of log densities
    # at equal means are free of the constant.
    exists = jnp.ones((1, 2), bool)

    def density(contrast: float, tau: float) -> float:
        error = jnp.array([[contrast, -contrast]]) / np.sqrt(2)
        return float(question_error_density(error, jnp.asarray(tau), exists))

    for contrast, tau in ((0.3, 0.5), (1.2, 0.7)):
        expected = norm.logpdf(contrast, scale=tau) - norm.logpdf(0.1, scale=0.4)
        assert density(contrast, tau) - density(0.1, 0.4) == pytest.approx(expected, abs=1e-12)
