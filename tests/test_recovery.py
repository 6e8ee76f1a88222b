"""Simulation-based calibration: truths drawn from the prior are ranked by their posteriors.

Over surveys whose parameters come from the prior, a true parameter has any rank among its
posterior draws with the same probability, and lies in its 90 % interval nine times in ten.
Source: Talts et al. 2018, arXiv:1804.06788.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from numpyro.handlers import condition
from scipy.stats import binom, chisquare

from calib.fitting import regression_data
from calib.formulas import log_share_unit
from calib.models import dirichlet_regression
from calib.paired import pair
from calib.sampling import Plan, sample
from calib.simulate import Truth, simulate_survey
from calib.survey import Group

pytestmark = pytest.mark.slow

# Sorted, as pairing sorts them: effects are compared by place.
GROUPS = sorted(
    [
        *(Group("PARTY", name) for name in ("left", "centre", "right")),
        *(Group("SEX", name) for name in ("female", "male")),
    ]
)
PLAN = Plan(n_chains=1, n_warmup=200, n_draws=792)
N_RANKED = 99
"""Draws that are kept for ranks, every eighth: near enough independent."""
N_BINS = 10
LEVEL = 0.9
SIGNIFICANCE = 0.01
"""Of all parameters together."""


class Recovered(NamedTuple):
    """How one survey's true parameters lie in their posterior, by parameter."""

    held: Mapping[str, np.ndarray]
    """Whether the 90 % interval holds it: one value, or each group's."""
    rank: Mapping[str, np.ndarray]
    """Draws below it, 0 to ``N_RANKED``."""


def truth_from_the_prior(seed: int) -> Truth:
    """Parameters drawn as the model expects them: then intervals hold at their level."""
    rng = np.random.default_rng([seed, 1])
    floor = rng.lognormal(np.log(0.02), 1.0)
    # The simulator's slopes are on log shares, the model's in units of them.
    unit = log_share_unit(np, floor)
    return Truth(
        beta_between=unit * rng.normal(0.8, 0.5),
        beta_within=unit * rng.normal(0.5, 0.5),
        beta_contradiction=unit * rng.normal(0.0, 0.5),
        sd_between=unit * rng.gamma(3.0, 1 / 20),
        sd_within=unit * rng.gamma(3.0, 1 / 20),
        sd_scale_linear=rng.gamma(3.0, 1 / 20),
        sd_scale_curve=rng.gamma(3.0, 1 / 20),
        scale_linear=rng.normal(0.0, 0.4),
        scale_curve=rng.normal(0.0, 1.0),
        n_labels=12,
        sd_label=rng.gamma(3.0, 1 / 10),
        floor=floor,
        kappa=rng.lognormal(np.log(15.0), 0.7),
        phi=rng.lognormal(np.log(60.0), 1.0),
    )


def no_question_error(data: Any) -> None:
    """The twin: all that a question's groups share is taken for said by the LLM."""
    condition(dirichlet_regression, data={"kappa": np.array(1e4)})(data)


def recovered(model: Callable[[Any], None], seed: int, left_out: tuple[str, ...] = ()) -> Recovered:
    """One survey simulated and fitted."""
    truth = truth_from_the_prior(seed)
    simulated = simulate_survey(
        n_questions=24, groups=GROUPS, n_options=(3, 4, 5), truth=truth, seed=seed
    )
    paired = pair(simulated.table)
    assert paired.human.n is not None
    with jax.enable_x64(True):
        data, start = regression_data(paired, paired.human.n)
        kept = {site: value for site, value in start.values.items() if site not in left_out}
        start = start._replace(values=kept)
        draws = sample(model, data, start, plan=PLAN, key=jax.random.key(seed)).sites
    held, rank = {}, {}
    for name, value in true_parameters(truth, simulated.group_effects).items():
        if name in left_out:
            continue
        flat = draws[name].reshape(PLAN.n_draws, -1)
        low, high = np.quantile(flat, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
        held[name] = (low <= value) & (value <= high)
        rank[name] = (flat[:: PLAN.n_draws // N_RANKED] < value).sum(axis=0)
    return Recovered(held, rank)


def true_parameters(
    truth: Truth, effects: Mapping[str, np.ndarray]
) -> dict[str, float | np.ndarray]:
    """Known parameters by the model's names, in its units."""
    unit = log_share_unit(np, truth.floor)
    slopes = ("beta_between", "beta_within", "beta_contradiction", "sd_between", "sd_within")
    alike = (
        "scale_linear",
        "scale_curve",
        "sd_scale_linear",
        "sd_scale_curve",
        "sd_label",
        "kappa",
        "phi",
    )
    return {
        **{name: getattr(truth, name) / unit for name in slopes},
        **{name: getattr(truth, name) for name in alike},
        "log_floor": np.log(truth.floor),
        **{
            f"{name}_group": values / unit if name in slopes else values
            for name, values in effects.items()
        },
    }


def over_surveys(
    model: Callable[[Any], None], n_surveys: int, left_out: tuple[str, ...] = ()
) -> list[Recovered]:
    """That many surveys, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda seed: recovered(model, seed, left_out), range(n_surveys)))


def rates(surveys: list[Recovered]) -> dict[str, np.ndarray]:
    """Share of intervals that hold, by parameter and survey."""
    return {name: np.array([one.held[name].mean() for one in surveys]) for name in surveys[0].held}


def is_nominal(held: dict[str, np.ndarray]) -> bool:
    """Whether all rates together, and each single parameter's, may be called nominal."""
    together = np.mean(list(held.values()), axis=0)
    error = together.std(ddof=1) / np.sqrt(len(together))
    single = [rate for rate in held.values() if set(np.unique(rate)) <= {0.0, 1.0}]
    limits = binom.ppf([0.001, 0.999], len(together), LEVEL)
    return bool(
        abs(together.mean() - LEVEL) <= 3 * error
        and all(limits[0] <= rate.sum() <= limits[1] for rate in single)
    )


def uniformity(surveys: list[Recovered]) -> dict[str, float]:
    """P value that the ranks over surveys are uniform, of each parameter and group's."""
    found = {}
    for name in surveys[0].rank:
        ranks = np.array([one.rank[name] for one in surveys])
        for place, column in enumerate(ranks.T):
            bins = np.bincount(column * N_BINS // (N_RANKED + 1), minlength=N_BINS)
            found[name if ranks.shape[1] == 1 else f"{name}[{place}]"] = float(
                chisquare(bins).pvalue
            )
    return found


def are_uniform(p_values: dict[str, float]) -> bool:
    """Whether no parameter's ranks depart from uniform, after Bonferroni."""
    return min(p_values.values()) > SIGNIFICANCE / len(p_values)


@pytest.fixture(scope="module")
def surveys() -> list[Recovered]:
    return over_surveys(dirichlet_regression, 160)


@pytest.fixture(scope="module")
def surveys_without_question_error() -> Iterator[list[Recovered]]:
    return over_surveys(no_question_error, 20, left_out=("kappa",))


def test_known_parameters_lie_in_their_intervals_at_the_nominal_rate(
    surveys: list[Recovered],
) -> None:
    held = rates(surveys)
    assert is_nominal(held), {name: rate.mean() for name, rate in held.items()}


def test_known_parameters_have_uniform_ranks(surveys: list[Recovered]) -> None:
    p_values = uniformity(surveys)
    assert are_uniform(p_values), p_values


def test_without_the_question_error_intervals_are_too_narrow(
    surveys_without_question_error: list[Recovered],
) -> None:
    held = rates(surveys_without_question_error)
    assert not is_nominal(held), {name: rate.mean() for name, rate in held.items()}


def test_without_the_question_error_ranks_are_not_uniform(
    surveys_without_question_error: list[Recovered],
) -> None:
    p_values = uniformity(surveys_without_question_error)
    assert not are_uniform(p_values), p_values
