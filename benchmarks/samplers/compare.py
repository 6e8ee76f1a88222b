"""Whether samplers drew from one posterior, and how many effective draws they got."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np


def summary_of(draws: Mapping[str, np.ndarray], existing: Sequence[tuple[int, int]]) -> list[Any]:
    """Mean, sd, their Monte Carlo errors, R-hat and bulk ESS of each top-level parameter.

    ``draws`` are [chain, draw, …]; of ``shape_logit`` only the elements in ``existing`` are
    parameters. The figures are ArviZ's.
    """
    import arviz_base
    import arviz_stats

    scalars: dict[str, np.ndarray] = {}
    for name, values in draws.items():
        if values.ndim == 2:
            scalars[name] = values
        else:
            scalars |= {f"{name}[{a},{b}]": values[:, :, a, b] for a, b in existing}
    data = arviz_base.from_dict({"posterior": scalars})
    columns = {
        "mean": lambda values: float(np.mean(values)),
        "sd": lambda values: float(np.std(values, ddof=1)),
    }
    found = [
        {"name": name} | {column: take(values) for column, take in columns.items()}
        for name, values in scalars.items()
    ]
    for column, function, words in (
        ("ess_bulk", arviz_stats.ess, {"method": "bulk"}),
        ("r_hat", arviz_stats.rhat, {}),
        ("mcse_mean", arviz_stats.mcse, {"method": "mean"}),
        ("mcse_sd", arviz_stats.mcse, {"method": "sd"}),
    ):
        values = function(data, **words)
        for row in found:
            row[column] = float(values[row["name"]])
    return found


def agreement(summaries: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[dict[str, Any]]:
    """Of each pair of samplers: the largest z of means and standard deviations.

    z is the difference over the root of the sum of squared Monte Carlo standard errors.
    Beside it stands the largest |z| to be expected of as many independent normals; sites
    are correlated, so that a little less is to be expected.
    """
    for one, other in combinations(summaries, 2):
        row: dict[str, Any] = {"a": one, "b": other}
        pairs = list(zip(summaries[one], summaries[other], strict=True))
        for what in ("mean", "sd"):
            z = [
                (a[what] - b[what]) / np.hypot(a[f"mcse_{what}"], b[f"mcse_{what}"])
                for a, b in pairs
            ]
            worst = int(np.argmax(np.abs(z)))
            row |= {f"z_{what}": abs(float(z[worst])), f"worst_{what}": pairs[worst][0]["name"]}
        yield row | {
            "parameters": len(pairs),
            "expected_largest_z": expected_largest(len(pairs)),
            # One in a hundred comparisons of both would exceed it.
            "limit_z": largest_at(0.99, 2 * len(pairs)),
        }


def expected_largest(n: int) -> float:
    """Mean of the largest of n independent |z|: ∫ 1 − (2Φ(z) − 1)ⁿ dz over z > 0."""
    from scipy.integrate import quad
    from scipy.stats import norm

    return float(quad(lambda z: 1.0 - (2.0 * norm.cdf(z) - 1.0) ** n, 0.0, 12.0)[0])


def largest_at(level: float, n: int) -> float:
    """Quantile of the largest of n independent |z|."""
    from scipy.stats import norm

    return float(norm.ppf((1.0 + level ** (1.0 / n)) / 2.0))


def density_spread(densities: Mapping[str, Sequence[float]]) -> Iterator[dict[str, Any]]:
    """Of each pair of implementations: by how much their log densities' difference varies."""
    for one, other in combinations(densities, 2):
        difference = np.subtract(densities[one], densities[other])
        yield {"a": one, "b": other, "spread": float(np.ptp(difference)), "points": len(difference)}
