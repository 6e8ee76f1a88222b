"""The posterior in Stan, sampled through ``pystan``.

Groups' effects and labels are non-centred, questions simplices, one array for each number of
options; a question's cells are a matrix, the log-gammas of all answers one vector.
"""

from __future__ import annotations

import sys
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import numpy as np
from jaxtyping import Float

from benchmarks.samplers.child import Drawn, Lengths
from benchmarks.samplers.problem import PARTS, TOP_LEVEL, Point, Problem

PACKAGES = ("pystan", "httpstan")
N_WARMUP: Final = 1000
"""Stan's default."""


def program_of(problem: Problem) -> str:
    """The Stan program, with one array of simplices for each number of options."""
    text = Path(__file__).with_name("dirichlet.stan").read_text(encoding="utf-8")
    data, parameters, assignments = [], [], []
    for size in np.unique(problem.n_options):
        data += [f"int n_{size};", f"array[n_{size}] int question_{size};"]
        parameters.append(f"array[n_{size}] simplex[{size}] shares_{size};")
        assignments.append(
            f"for (i in 1:n_{size}) shares[question_{size}[i], 1:{size}] = shares_{size}[i];"
        )
    for name, lines in (("DATA", data), ("PARAMETERS", parameters), ("SHARES", assignments)):
        text = text.replace(f"// {name} of each size", "\n  ".join(lines))
    return text


def data_of(problem: Problem) -> dict[str, Any]:
    """What the program is given; answers row by row, options beside each other."""
    basis = sum_zero_basis(int(problem.n_groups))
    cells = problem.mask.any(axis=2)
    n_slots = problem.n_slots
    data: dict[str, Any] = {
        "n_questions": len(problem.shape),
        "n_groups": int(problem.n_groups),
        "n_shapes": int(problem.n_shapes),
        "n_labels": int(problem.n_labels),
        "max_options": problem.mask.shape[2],
        "max_slots": problem.mask.shape[1],
        "n_cells": int(cells.sum()),
        "n_answers": int(problem.mask.sum()),
        "n_options": problem.n_options,
        "n_slots": n_slots,
        # Any group will do in an empty slot, and option beyond the last.
        "group": problem.group + 1,
        "shape": problem.shape + 1,
        "label": problem.label + 1,
        "peers": problem.peers,
        "place": problem.place,
        "curve": problem.curve,
        "probs": problem.probs[problem.mask],
        "counts": problem.counts[problem.mask],
        "n": problem.counts.sum(axis=2)[cells],
        "basis": basis,
        "slopes_prior": problem.slopes,
        "scale_prior": problem.scale_terms,
    }
    for name in ("shape_spread", "log_kappa", "log_phi", "group_spread", "label_spread", "floor"):
        data[f"{name}_prior"] = getattr(problem, name)
    for size in np.unique(problem.n_options):
        those = np.flatnonzero(problem.n_options == size)
        data |= {f"n_{size}": len(those), f"question_{size}": those + 1}
    return {name: np.asarray(value).tolist() for name, value in data.items()}


def sum_zero_basis(size: int) -> Float[np.ndarray, "group contrast"]:
    """Orthonormal columns that sum to zero (Helmert): older Stan lacks a sum-to-zero vector."""
    basis = np.zeros((size, size - 1))
    for column in range(size - 1):
        basis[: column + 1, column] = 1.0
        basis[column + 1, column] = -(column + 1.0)
    return basis / np.linalg.norm(basis, axis=0)


def _build(problem: Problem, seed: int) -> Any:
    import stan

    return stan.build(program_of(problem), data=data_of(problem), random_seed=seed + 1)


def densities(problem: Problem, points: list[Point]) -> list[float]:
    """Log posterior density at the points, up to one constant."""
    model = _build(problem, seed=0)
    basis = sum_zero_basis(int(problem.n_groups))
    found = []
    for point in points:
        values = {name: point[name] for name in (*TOP_LEVEL, "label_unit")}
        values |= {f"contrast_{part}": basis.T @ point[f"unit_{part}"] for part in PARTS}
        for size in np.unique(problem.n_options):
            values[f"shares_{size}"] = point["shares"][problem.n_options == size, :size]
        inside = model.unconstrain_pars({name: at.tolist() for name, at in values.items()})
        found.append(model.log_prob(inside, adjust_transform=False))
    return found


def draw(problem: Problem, lengths: Lengths, seed: int) -> Drawn:
    """Compile and sample as Stan does where it is told nothing but chains and draws."""
    begin = perf_counter()
    model = _build(problem, seed)
    compiled_at = perf_counter()
    n_warmup = N_WARMUP if lengths.n_warmup is None else lengths.n_warmup
    fit = model.sample(
        num_chains=lengths.n_chains, num_samples=lengths.n_draws, num_warmup=n_warmup
    )
    done = perf_counter()
    print(file=sys.stderr)

    def by_chain(name: str) -> np.ndarray:
        """[chain, draw, …] of […, draw · chain], in which chains alternate."""
        flat = np.moveaxis(np.atleast_2d(fit[name]), -1, 0)
        stacked = flat.reshape(lengths.n_draws, lengths.n_chains, *flat.shape[1:])
        return np.swapaxes(stacked, 0, 1)

    return Drawn(
        draws={
            name: by_chain(name) if name == "shape_logit" else by_chain(name)[..., 0]
            for name in TOP_LEVEL
        },
        compile_seconds=compiled_at - begin,
        sample_seconds=done - compiled_at,
        n_warmup=n_warmup,
        diverging=int(by_chain("divergent__").sum()),
        n_steps=float(by_chain("n_leapfrog__").mean()),
    )
