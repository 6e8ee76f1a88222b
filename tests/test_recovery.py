"""Known parameters lie in their 90 % intervals at that rate; without the question error not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
import pytest
from numpyro.handlers import condition
from scipy.stats import binom

from calib.dirichlet import regression_data
from calib.models import dirichlet_regression
from calib.paired import pair
from calib.sampling import Plan, Start, sample
from calib.simulate import Truth, simulate_survey
from calib.survey import Group

pytestmark = pytest.mark.slow

# Sorted, as pairing sorts them: effects are compared by place.
GROUPS = sorted(Group("PARTY", name) for name in ("left", "centre", "right", "other", "none"))
LEVEL = 0.9


def truth_from_the_prior(seed: int) -> Truth:
    """Parameters drawn as the model expects them: then intervals hold at their level."""
    rng = np.random.default_rng([seed, 1])
    return Truth(
        beta_between=rng.normal(0.8, 0.5),
        beta_within=rng.normal(0.5, 0.5),
        sd_between=rng.gamma(3.0, 1 / 20),
        sd_within=rng.gamma(3.0, 1 / 20),
        sd_scale=rng.gamma(3.0, 1 / 20),
        scale_linear=rng.normal(0.0, 1.0),
        scale_curve=rng.normal(0.0, 2.0),
        floor=rng.lognormal(np.log(0.02), 1.0),
        kappa=rng.lognormal(np.log(15.0), 1.0),
        phi=rng.lognormal(np.log(60.0), 1.0),
    )


def no_question_error(data: Any) -> None:
    """The twin: all that a question's groups share is taken for said by the LLM."""
    condition(dirichlet_regression, data={"kappa": 1e4})(data)


def intervals_that_hold(
    model: Callable[[Any], None], seed: int, left_out: tuple[str, ...] = ()
) -> Mapping[str, np.ndarray]:
    """For each known parameter, whether its interval holds the truth (one or each group)."""
    truth = truth_from_the_prior(seed)
    simulated = simulate_survey(
        n_questions=24, groups=GROUPS, n_options=(3, 4, 5), truth=truth, seed=seed
    )
    paired = pair(simulated.table)
    assert paired.human.n is not None
    with jax.enable_x64(True):
        data, start = regression_data(paired, paired.human.n)
        start = Start(
            {site: value for site, value in start.values.items() if site not in left_out},
            start.reach,
        )
        draws = sample(model, data, start, plan=Plan(1, 200, 400), seed=seed).sites
    drawn = simulated.group_effects
    known = {
        "beta_within": drawn["beta_within"].mean(),
        "phi": truth.phi,
        "log_floor": np.log(truth.floor),
        "scale_curve": drawn["scale_curve"].mean(),
        "beta_between": drawn["beta_between"].mean(),
        "scale_linear": drawn["scale_linear"].mean(),
        "beta_within_group": drawn["beta_within"],
        "beta_between_group": drawn["beta_between"],
        "scale_linear_group": drawn["scale_linear"],
    }
    if "kappa" not in left_out:
        known["kappa"] = truth.kappa
    held = {}
    for name, value in known.items():
        flat = draws[name].reshape(draws[name].shape[1], -1)
        low, high = np.quantile(flat, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
        held[name] = (low <= value) & (value <= high)
    return held


def rates(
    model: Callable[[Any], None], n_surveys: int, left_out: tuple[str, ...] = ()
) -> dict[str, np.ndarray]:
    """Share of intervals that hold, by parameter and survey."""
    with ThreadPoolExecutor(2) as pool:
        held = list(
            pool.map(lambda seed: intervals_that_hold(model, seed, left_out), range(n_surveys))
        )
    return {name: np.array([one[name].mean() for one in held]) for name in held[0]}


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


def test_known_parameters_lie_in_their_intervals_at_the_nominal_rate() -> None:
    held = rates(dirichlet_regression, 60)
    assert is_nominal(held), {name: rate.mean() for name, rate in held.items()}


def test_without_the_question_error_they_do_not() -> None:
    held = rates(no_question_error, 20, left_out=("kappa",))
    assert not is_nominal(held), {name: rate.mean() for name, rate in held.items()}
