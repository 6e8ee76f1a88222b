"""The posterior in PyMC, sampled by nutpie through Numba.

Groups' effects and labels are non-centred, questions Dirichlet, one variable for each number
of options; answers are padded arrays, their log-gammas taken where options are.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.samplers.child import Drawn, Lengths
from benchmarks.samplers.problem import PARTS, SCALE_TERMS, SLOPES, TOP_LEVEL, Point, Problem

PACKAGES = ("pymc", "nutpie", "pytensor", "numba")


def model_of(problem: Problem) -> Any:
    """The ``pymc.Model``."""
    import pymc as pm
    import pytensor.tensor as pt

    mask, offered = problem.mask, problem.offered
    n_slots, n_options = problem.n_slots[:, None], problem.n_options[:, None, None]
    with pm.Model() as model:
        top: dict[str, Any] = {}
        for names, priors in ((SLOPES, problem.slopes), (SCALE_TERMS, problem.scale_terms)):
            for name, (loc, scale) in zip(names, priors, strict=True):
                top[name] = pm.Normal(name, loc, scale)
        shapes = (int(problem.n_shapes), mask.shape[2])
        shape_logit = pm.Normal("shape_logit", 0.0, problem.shape_spread, shape=shapes)
        sd_label = pm.Gamma("sd_label", *problem.label_spread)
        label_unit = pm.Normal("label_unit", shape=int(problem.n_labels))
        label_logit = pt.concatenate([pt.zeros(1), sd_label * label_unit])
        kappa = pm.LogNormal("kappa", *problem.log_kappa)
        phi = pm.LogNormal("phi", *problem.log_phi)
        off = {}
        for part in PARTS:
            spread = pm.Gamma(f"sd_{part}", *problem.group_spread)
            unit = pm.ZeroSumNormal(f"unit_{part}", shape=int(problem.n_groups))
            off[part] = (spread * unit)[problem.group][:, :, None]

        # Log shares of the LLM: what groups have in common, and what they have not.
        floor = pt.exp(top["log_floor"])
        logs = np.log1p(1 / problem.floor) / pt.log1p(1 / floor) * pt.log(problem.probs + floor)
        logs = mask * logs
        logs = mask * (logs - logs.sum(axis=2, keepdims=True) / n_options)
        between = logs.sum(axis=1) / n_slots
        within = mask * (logs - between[:, None, :])
        contradiction = pt.matmul(problem.peers, within)
        own = within - contradiction

        line = (
            top["beta_between"] * between
            + top["scale_linear"] * problem.place
            + top["scale_curve"] * problem.curve
            + shape_logit[problem.shape]
            + label_logit[problem.label]
        )
        mean = pt.special.softmax(pt.where(offered, line, -1e30), axis=-1)
        blocks, order = [], []
        for size in np.unique(problem.n_options):
            those = np.flatnonzero(problem.n_options == size)
            shares = pm.Dirichlet(f"shares_{size}", kappa * mean[those, :size])
            padding = pt.zeros((len(those), mask.shape[2] - size))
            blocks.append(pt.concatenate([pt.log(shares), padding], axis=1))
            order.append(those)
        question_logit = pt.concatenate(blocks)[np.argsort(np.concatenate(order))]

        logits = (
            question_logit[:, None, :]
            + top["beta_within"] * own
            + top["beta_contradiction"] * contradiction
            + off["between"] * between[:, None, :]
            + off["within"] * own
            + off["scale_linear"] * problem.place[:, None, :]
            + off["scale_curve"] * problem.curve[:, None, :]
        )
        shares = pt.special.softmax(pt.where(mask, logits, -1e30), axis=-1)
        # Effective answers are no integers, so the Dirichlet-multinomial is written out; the
        # concentrations of a cell add up to φ.
        alpha, counts = phi * shares[mask.nonzero()], problem.counts[mask]
        n = problem.counts.sum(axis=2)[mask.any(axis=2)]
        pm.Potential(
            "answers",
            (pt.gammaln(counts + alpha) - pt.gammaln(alpha)).sum()
            + (pt.gammaln(phi) - pt.gammaln(n + phi)).sum(),
        )
    return model


def densities(problem: Problem, points: list[Point]) -> list[float]:
    """Log posterior density at the points, up to one constant."""
    import pytensor

    model = model_of(problem)
    # A few evaluations only: interpreted, they take less time than C would to compile.
    log_density = model.compile_logp(jacobian=False, mode="FAST_COMPILE")
    given, inside = [], {}
    for variable in model.free_RVs:
        given.append(variable.type(variable.name))
        transform = model.rvs_to_transforms[variable]
        inside[model.rvs_to_values[variable].name] = (
            given[-1] if transform is None else transform.forward(given[-1])
        )
    transformed = pytensor.function(given, list(inside.values()), mode="FAST_COMPILE")
    found = []
    for point in points:
        values = transformed(*(_part(problem, point, one.name) for one in given))
        found.append(float(log_density(dict(zip(inside, values, strict=True)))))
    return found


def _part(problem: Problem, point: Point, name: str) -> np.ndarray:
    if not name.startswith("shares_"):
        return point[name]
    size = int(name.removeprefix("shares_"))
    return point["shares"][problem.n_options == size, :size]


def draw(problem: Problem, lengths: Lengths, seed: int) -> Drawn:
    """Compile and sample as nutpie does where it is told nothing but chains and draws."""
    import nutpie

    begin = perf_counter()
    compiled = nutpie.compile_pymc_model(model_of(problem))
    compiled_at = perf_counter()
    told = {} if lengths.n_warmup is None else {"tune": lengths.n_warmup}
    tree = nutpie.sample(
        compiled,
        draws=lengths.n_draws,
        chains=lengths.n_chains,
        cores=lengths.n_chains,
        seed=seed,
        progress_bar=False,
        save_warmup=True,
        **told,
    )
    done = perf_counter()
    draws, stats = tree["posterior"], tree["sample_stats"]
    return Drawn(
        draws={name: draws[name].to_numpy() for name in TOP_LEVEL},
        compile_seconds=compiled_at - begin,
        sample_seconds=done - compiled_at,
        n_warmup=int(tree["warmup_posterior"].sizes["draw"]),
        diverging=int(stats["diverging"].sum()),
        n_steps=float(stats["n_steps"].mean()),
    )
