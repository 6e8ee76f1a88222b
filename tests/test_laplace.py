"""The Laplace approximation's parts against dense algebra and brute force."""

from __future__ import annotations

import numpy as np
import pytest

from calib.laplace import Arrowhead, _spread
from calib.prior import Gamma

N_SHARED, LOCAL = 4, (5, 3)


def hessian(*, blocks_touch: bool = False) -> np.ndarray:
    """Positive definite; blocks depend on the shared parameters and, if so said, on others."""
    rng = np.random.default_rng(0)
    size = N_SHARED + LOCAL[0] * LOCAL[1]
    block_of = np.repeat(np.arange(LOCAL[0]), LOCAL[1])
    root = rng.normal(size=(size, size))
    matrix = root @ root.T / size
    if not blocks_touch:
        local = matrix[N_SHARED:, N_SHARED:]
        local[block_of[:, None] != block_of[None, :]] = 0.0
    return matrix + 3 * np.eye(size)


def arrowhead(matrix: np.ndarray) -> Arrowhead:
    found = Arrowhead(lambda at: matrix @ at, np.zeros(len(matrix)), N_SHARED, LOCAL)
    assert found.factor(0.0)
    return found


def test_solving_and_variances_are_those_of_the_dense_matrix() -> None:
    matrix = hessian()
    right = np.random.default_rng(1).normal(size=len(matrix))
    found = arrowhead(matrix)
    np.testing.assert_allclose(found.solve(right), np.linalg.solve(matrix, right), rtol=1e-8)
    inverse = np.linalg.inv(matrix)[:N_SHARED, :N_SHARED]
    np.testing.assert_allclose(found.shared_variance(), np.diag(inverse), rtol=1e-8)
    np.testing.assert_allclose(found.shared_root() @ found.shared_root().T, inverse, rtol=1e-7)
    damped = matrix + 2.0 * np.eye(len(matrix))
    assert found.factor(2.0)
    np.testing.assert_allclose(found.solve(right), np.linalg.solve(damped, right), rtol=1e-8)


def test_draws_have_the_inverse_as_covariance() -> None:
    matrix = hessian()
    draws = arrowhead(matrix).draws(200_000, np.random.default_rng(2))
    inverse = np.linalg.inv(matrix)
    scale = np.sqrt(np.diag(inverse))
    found = np.cov(draws.T) / np.outer(scale, scale)
    np.testing.assert_allclose(found, inverse / np.outer(scale, scale), atol=0.02)


def test_blocks_that_touch_are_not_an_arrowhead() -> None:
    # The twin: where questions depended on each other the differences would mix them.
    matrix = hessian(blocks_touch=True)
    right = np.random.default_rng(1).normal(size=len(matrix))
    off = np.abs(arrowhead(matrix).solve(right) - np.linalg.solve(matrix, right)).max()
    assert off > 1e-3


def test_a_density_that_rises_somewhere_has_no_factor() -> None:
    matrix = hessian()
    matrix[0, 0] = -50.0
    found = Arrowhead(lambda at: matrix @ at, np.zeros(len(matrix)), N_SHARED, LOCAL)
    assert not found.factor(0.0)
    assert found.factor(100.0)


@pytest.mark.parametrize(("squares", "size"), [(0.4, 13), (0.001, 5), (30.0, 40)])
def test_a_spread_is_at_the_highest_point_of_its_density(squares: float, size: int) -> None:
    prior = Gamma(np.array(3.0), np.array(20.0))
    log_s = np.linspace(-8, 3, 200_001)
    s = np.exp(log_s)
    density = 3 * log_s - 20 * s - size * log_s - squares / (2 * s**2)
    assert _spread(squares, size, prior) == pytest.approx(s[density.argmax()], rel=1e-3)
