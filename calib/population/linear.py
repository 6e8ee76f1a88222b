"""Shares of a question updated with answers of some cells: the best linear estimate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class Answers(NamedTuple):
    """What people of one cell answered."""

    rows: Int[np.ndarray, " option"]
    """Where the cell's options stand among the question's rows."""
    shares: Float[np.ndarray, " option"]
    n: float
    """Effective respondents."""


class Moments(NamedTuple):
    """What draws of a question's shares expect, and how far off they expect to be."""

    mean: Float[np.ndarray, " row"]
    covariance: Float[np.ndarray, "row row"]
    second: Float[np.ndarray, "row row"]
    """E[θθᵀ]."""

    @property
    def spread(self) -> Float[np.ndarray, " row"]:
        """Expected θ(1 − θ): n times the sampling variance of a share among n respondents."""
        return self.mean - np.diag(self.second)

    def noise(
        self, rows: Int[np.ndarray, " option"], n: float
    ) -> Float[np.ndarray, "option option"]:
        """Expected sampling covariance of a cell's shares among n respondents.

        E[diag θ − θθᵀ]/n, multinomial.
        """
        return (np.diag(self.mean[rows]) - self.second[np.ix_(rows, rows)]) / n

    def widened(self, factor: float) -> Moments:
        """With errors of ``factor`` times the variance; sampling errors stay as they are."""
        return self._replace(covariance=factor * self.covariance)


def moments(draws: Float[np.ndarray, "draw row"]) -> Moments:
    """Mean and covariance of the draws."""
    mean = draws.mean(axis=0)
    covariance = np.atleast_2d(np.cov(draws.T))
    return Moments(mean, covariance, covariance + np.outer(mean, mean))


def gain(
    prior: Moments, cells: Sequence[tuple[Int[np.ndarray, " option"], float]]
) -> Float[np.ndarray, "row answer"]:
    """By how much each share moves with each answered share's surprise.

        K = Cov(θ, y) Var(y)⁻¹,    Var(y) = Cov(θ_answered) + E[diag θ − θθᵀ]/n

    ``cells`` are rows and respondents of each answered cell; columns follow them in turn.
    """
    rows = np.concatenate([rows for rows, _ in cells])
    found: np.ndarray = prior.covariance[:, rows] @ _inverse_variance(prior, cells)
    return found


def _inverse_variance(
    prior: Moments, cells: Sequence[tuple[Int[np.ndarray, " option"], float]]
) -> Float[np.ndarray, "answer answer"]:
    """Pseudo-inverse of Var(y): singular, as a cell's shares sum to one."""
    rows = np.concatenate([rows for rows, _ in cells])
    variance = prior.covariance[np.ix_(rows, rows)].copy()
    start = 0
    for of_cell, n in cells:
        here = slice(start, start + len(of_cell))
        variance[here, here] += prior.noise(of_cell, n)
        start += len(of_cell)
    inverse: np.ndarray = np.linalg.pinv(variance, rcond=1e-10, hermitian=True)
    return inverse


def remaining(
    prior: Moments, cells: Sequence[tuple[Int[np.ndarray, " option"], float]]
) -> Float[np.ndarray, "row row"]:
    """Covariance of the errors that are expected once the cells have answered.

    Cov(θ) − K Cov(y, θ): the expected squared error of the linear estimate, whatever the
    form of the draws. No linear estimate has a lower one, that of the answers alone among
    them.
    """
    rows = np.concatenate([rows for rows, _ in cells])
    left: np.ndarray = prior.covariance - gain(prior, cells) @ prior.covariance[rows]
    return (left + left.T) / 2.0


def update(
    draws: Float[np.ndarray, "draw row"],
    answers: Sequence[Answers],
    rng: np.random.Generator,
    *,
    widen: float = 1.0,
) -> Float[np.ndarray, "draw row"]:
    """Draws of a question's shares, given answers of some of its cells.

        θ̂ + e − mean e,    θ̂ = E θ + K (y − E θ),    e = θ − K y*

    with y* a sample of n respondents from the draw θ (Matheron's rule; Evensen 2003,
    doi:10.1007/s10236-003-0036-9). Their mean θ̂ is the best linear estimate, and each draw is
    off it as a truth drawn from the prediction would be: intervals cover such truths at their
    level, on average over answers. Where a cell's draws are Dirichlet and it answers alone, θ̂
    is the exact posterior mean (Diaconis and Ylvisaker 1979, doi:10.1214/aos/1176344611).

    ``widen`` is by how much the prediction's errors are larger in variance than in the draws.
    Draws may leave [0, 1]; they sum to one in each cell.
    """
    prior = moments(draws).widened(widen)
    wide = prior.mean + np.sqrt(widen) * (draws - prior.mean)
    factor = gain(prior, [(cell.rows, cell.n) for cell in answers])
    given = np.concatenate([cell.shares - prior.mean[cell.rows] for cell in answers])
    noise = np.concatenate(
        [sampled(draws[:, one.rows], one.n, rng) - draws[:, one.rows] for one in answers], axis=1
    )
    rows = np.concatenate([cell.rows for cell in answers])
    error = wide - (wide[:, rows] + noise) @ factor.T
    moved: np.ndarray = prior.mean + factor @ given + error - error.mean(axis=0)
    return moved


def surprise(prior: Moments, answers: Sequence[Answers]) -> tuple[float, int]:
    """How far the answers of a question lie from what was predicted, squared, and its rank.

    (y − E y)ᵀ Var(y)⁻¹ (y − E y), which a prediction that knows its errors expects to be the
    rank of Var(y); χ²-distributed for normal errors.
    """
    rows = np.concatenate([cell.rows for cell in answers])
    off = np.concatenate([cell.shares for cell in answers]) - prior.mean[rows]
    inverse = _inverse_variance(prior, [(cell.rows, cell.n) for cell in answers])
    return float(off @ inverse @ off), sum(len(cell.rows) - 1 for cell in answers)


def sampled(
    shares: Float[np.ndarray, "draw option"], n: float, rng: np.random.Generator
) -> Float[np.ndarray, "draw option"]:
    """Shares among n respondents; n need not be whole.

    The sampling error of the next whole number, scaled to the variance at n.
    """
    whole = int(np.ceil(n))
    counted = rng.multinomial(whole, np.maximum(shares, 0.0)) / whole
    scattered: np.ndarray = shares + (counted - shares) * np.sqrt(whole / n)
    return scattered


def worth(spread: Float[np.ndarray, " option"], variance: Float[np.ndarray, " option"]) -> float:
    """Respondents whose shares would be as precise: Σ_c E[θ_c(1 − θ_c)] / Σ_c Var_c.

    Infinite where nothing is left to learn. Of a Dirichlet with concentration A it is A, and
    A + n once n respondents have answered.

    >>> worth(np.array([0.25, 0.25]), np.array([0.01, 0.01]))
    25.0
    """
    total = float(variance.sum())
    return float(spread.sum()) / total if total > 0 else float("inf")
