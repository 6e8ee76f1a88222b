"""Whether a posterior may be trusted: convergence, effective draws, energy, influence."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from jaxtyping import Float

from calib.tree import GIVEN_UP

if TYPE_CHECKING:
    from xarray import DataTree

MAX_R_HAT: Final = 1.01
MIN_ESS: Final = 400.0
MIN_BFMI: Final = 0.3
MAX_PARETO_K: Final = 0.7
BOUND_MAY_RISE: Final = 0.01
"""Limits of the verdict: Vehtari et al. 2021 (doi:10.1214/20-BA1221) for R-hat and effective
draws, Betancourt 2016 (arXiv:1604.00695) for BFMI, Vehtari et al. 2017
(doi:10.1007/s11222-016-9696-4) for the Pareto shape; ours for the bound of ``svi``: nats a row
from the third quarter of the steps to the last, beyond three standard errors."""


@dataclass(frozen=True)
class Diagnosis:
    """The verdict on a fit and the figures behind it."""

    trusted: bool
    """False where any of ``problems`` makes the fit unfit for use."""
    inference: str
    """``nuts``, or the approximation whose draws these are; of one, what follows of chains and
    energy is NaN."""
    problems: tuple[str, ...]
    r_hat_max: float
    """Largest over top-level parameters; 1 is perfect."""
    ess_bulk_min: float
    ess_tail_min: float
    """Smallest number of effective draws over top-level parameters."""
    n_chains: int
    n_draws: int
    """Kept, of each chain."""
    n_divergences: int
    n_divergences_given_up: int
    """Of earlier attempts, after which smaller steps were taken; 0 where there was none."""
    bfmi_min: float
    """Smallest over chains; low values mean the energy mixes badly."""
    loo: dict[str, float | int | str] | None
    """Leave-one-row-out expected log density, in-sample (rows of a question share its error,
    so it says nothing of new questions); with the number of rows whose Pareto shape is high."""
    parameters: list[dict[str, Any]]
    """Name, mean, sd, r_hat, ess_bulk, ess_tail of every top-level parameter."""

    @property
    def verdict(self) -> str:
        """In a few words."""
        if not self.trusted:
            return "not to be trusted"
        if self.inference == "nuts":
            return "trusted"
        return (
            f"approximated by {self.inference}: intervals are as good as a normal posterior is; "
            "fit with --inference nuts to check"
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def diagnose(posterior: DataTree, *, with_loo: bool = True) -> Diagnosis:
    """Judge a posterior with the groups ``posterior``, ``sample_stats``, ``log_likelihood``.

    Top-level parameters are all but the questions' logits. A sampled fit is trusted when R-hat
    is at most ``MAX_R_HAT`` and bulk and tail effective draws at least ``MIN_ESS`` for each, no
    transition diverged and BFMI is at least ``MIN_BFMI`` in every chain. The verdict does not
    hang on the leave-one-out figures, which take half the time: ``with_loo=False`` omits them.

    An approximation has no chains to compare, and nothing here says how near the posterior it
    is. ``laplace`` has found its mode, or there would be no fit; the bound of ``svi`` must have
    settled, see ``BOUND_MAY_RISE``.
    """
    import arviz_stats

    inference = str(posterior.attrs.get("inference", "nuts"))

    top_level = _top_level(posterior["posterior"].dataset)
    sampled = inference == "nuts"
    summary = arviz_stats.summary(
        posterior,
        var_names=top_level,
        # Held spreads do not vary: of them there is no effective number of draws.
        kind="all" if sampled else "stats",
        round_to="none",
        ci_prob=0.9,
    )
    # Options that a shape of scale does not have are no parameters; any other undefined figure
    # counts against the fit.
    absent = summary["mean"].isna() & summary.index.str.startswith("shape_logit[")
    summary = summary[~absent]
    columns = ("mean", "sd", "r_hat", "ess_bulk", "ess_tail")
    sizes = posterior["posterior"].sizes
    parameters = [
        {"name": str(name), **{key: float(row.get(key, np.nan)) for key in columns}}
        for name, row in summary.iterrows()
    ]
    if not sampled:
        nan = float("nan")
        problems = _unsettled(posterior) if inference == "svi" else []
        return Diagnosis(
            trusted=not problems,
            inference=inference,
            problems=tuple(problems),
            r_hat_max=nan,
            ess_bulk_min=nan,
            ess_tail_min=nan,
            n_chains=sizes["chain"],
            n_draws=sizes["draw"],
            n_divergences=0,
            n_divergences_given_up=0,
            bfmi_min=nan,
            loo=_loo(posterior) if with_loo else None,
            parameters=parameters,
        )
    r_hat = float(np.max(summary["r_hat"].to_numpy(float)))
    bulk = float(np.min(summary["ess_bulk"].to_numpy(float)))
    tail = float(np.min(summary["ess_tail"].to_numpy(float)))
    stats = posterior["sample_stats"].dataset
    divergences = int(stats["diverging"].sum())
    bfmi = _bfmi(stats["energy"].to_numpy())
    problems = []
    # Comparisons are written so that an undefined figure counts against the fit.
    if not r_hat <= MAX_R_HAT:
        problems.append(f"R-hat is {r_hat:.3f}, above {MAX_R_HAT}: the chains disagree")
    if not bulk >= MIN_ESS:
        problems.append(f"bulk ESS is {bulk:.0f}, below {MIN_ESS:.0f}: sample longer")
    if not tail >= MIN_ESS:
        problems.append(f"tail ESS is {tail:.0f}, below {MIN_ESS:.0f}: interval ends are noisy")
    if divergences:
        problems.append(f"{divergences} divergent transitions: parts of the posterior are missed")
    if not bfmi >= MIN_BFMI:
        problems.append(f"BFMI is {bfmi:.2f}, below {MIN_BFMI}: the energy mixes badly")
    return Diagnosis(
        trusted=not problems,
        inference=inference,
        problems=tuple(problems),
        r_hat_max=r_hat,
        ess_bulk_min=bulk,
        ess_tail_min=tail,
        n_chains=sizes["chain"],
        n_draws=sizes["draw"],
        n_divergences=divergences,
        n_divergences_given_up=int(posterior.attrs.get(GIVEN_UP, 0)),
        bfmi_min=bfmi,
        loo=_loo(posterior) if with_loo else None,
        parameters=parameters,
    )


def too_few_draws(parameters: Mapping[str, Float[np.ndarray, "chain draw ..."]]) -> bool:
    """Whether further chains are worth their time: the draws fail the limits of ``diagnose``.

    Of top-level parameters R-hat, bulk and tail effective draws; what is undefined (an option
    that a shape of scale does not have) more draws would not define.
    """
    import arviz_base
    import arviz_stats

    draws = arviz_base.from_dict(
        {"posterior": {name: parameters[name] for name in _top_level(parameters)}}
    )
    r_hat = arviz_stats.rhat(draws)
    effective = [arviz_stats.ess(draws, method=method) for method in ("bulk", "tail")]
    return bool(
        any((of > MAX_R_HAT).any() for of in r_hat.dataset.values())
        or any((of < MIN_ESS).any() for found in effective for of in found.dataset.values())
    )


def _top_level(names: Iterable[Hashable]) -> list[str]:
    """Parameters that the verdict hangs on: all but the questions' logits."""
    return [str(name) for name in names if name != "question_logit"]


def _unsettled(posterior: DataTree) -> list[str]:
    """The problem of a bound that still moved when the steps ended, if it did."""
    bound = posterior["sample_stats"].dataset["bound"].to_numpy()[0]
    before, last = (part for part in np.array_split(bound, 4)[2:])
    noise = np.sqrt(before.var(ddof=1) / before.size + last.var(ddof=1) / last.size)
    allowed = BOUND_MAY_RISE * posterior["constant_data"].sizes["row"]
    rise = float(last.mean() - before.mean())
    if abs(rise) <= allowed + 3.0 * noise:
        return []
    return [f"the bound moved by {rise:.0f} nats in the last quarter of the steps: not settled"]


def _bfmi(energy: np.ndarray) -> float:
    """Min over chains of Σ (E_t − E_{t−1})² / Σ (E_t − mean E)²."""
    change = np.square(np.diff(energy, axis=1)).sum(axis=1)
    spread = np.square(energy - energy.mean(axis=1, keepdims=True)).sum(axis=1)
    return float((change / spread).min())


def _loo(posterior: DataTree) -> dict[str, float | int | str] | None:
    import arviz_stats

    if "log_likelihood" not in posterior:
        return None
    with warnings.catch_warnings():
        # High Pareto shapes are counted below instead of warned about.
        warnings.simplefilter("ignore", UserWarning)
        loo = arviz_stats.loo(posterior, var_name="answers", pointwise=True)
    return {
        "elpd": float(loo.elpd),
        "se": float(loo.se),
        "p": float(loo.p),
        "rows": int(loo.pareto_k.size),
        "rows_with_high_pareto_k": int((loo.pareto_k > MAX_PARETO_K).sum()),
        "what": "leave one row out, in-sample: not a figure for new questions",
    }
