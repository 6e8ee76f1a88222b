"""What all samplers are given: the arrays of one fit, and points at which to compare densities."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

SLOPES: Final = ("beta_between", "beta_within", "beta_contradiction", "log_floor")
SCALE_TERMS: Final = ("scale_linear", "scale_curve")
PARTS: Final = ("between", "within", "scale_linear", "scale_curve")
"""Of what groups differ."""
TOP_LEVEL: Final = (
    *SLOPES,
    *SCALE_TERMS,
    "shape_logit",
    "sd_label",
    "kappa",
    "phi",
    *(f"sd_{part}" for part in PARTS),
)
"""Parameters whose effective draws count and whose posteriors must agree."""


class Problem(NamedTuple):
    """One source, nothing padded but options and slots; the words are ``calib.formulas``'."""

    probs: Float[np.ndarray, "question slot option"]
    counts: Float[np.ndarray, "question slot option"]
    """Effective human answers."""
    mask: Bool[np.ndarray, "question slot option"]
    """A question's options come first, and every group that was asked was offered all."""
    group: Int[np.ndarray, "question slot"]
    peers: Float[np.ndarray, "question slot slot"]
    place: Float[np.ndarray, "question option"]
    curve: Float[np.ndarray, "question option"]
    shape: Int[np.ndarray, " question"]
    label: Int[np.ndarray, "question option"]
    """Number among the labels that recur; 0: it does not."""
    n_groups: Int[np.ndarray, ""]
    n_shapes: Int[np.ndarray, ""]
    n_labels: Int[np.ndarray, ""]
    """Labels that recur."""
    slopes: Float[np.ndarray, "4 2"]
    """Mean and standard deviation of the normal priors of ``SLOPES``."""
    scale_terms: Float[np.ndarray, "2 2"]
    """Of ``SCALE_TERMS``."""
    shape_spread: Float[np.ndarray, ""]
    log_kappa: Float[np.ndarray, " 2"]
    log_phi: Float[np.ndarray, " 2"]
    group_spread: Float[np.ndarray, " 2"]
    """Shape and rate of the gamma priors of how much groups differ."""
    label_spread: Float[np.ndarray, " 2"]
    floor: Float[np.ndarray, ""]
    """At which a unit of a slope is a unit of log share."""

    @property
    def offered(self) -> Bool[np.ndarray, "question option"]:
        """A question's options."""
        return np.asarray(self.mask.any(axis=1))

    @property
    def n_options(self) -> Int[np.ndarray, " question"]:
        """How many options each question has."""
        return np.asarray(self.offered.sum(axis=1))

    @property
    def n_slots(self) -> Int[np.ndarray, " question"]:
        """How many groups were asked each question."""
        return np.asarray(self.mask.any(axis=2).sum(axis=1))

    def check(self) -> None:
        """``ValueError`` where the peers' models would not be this posterior."""
        first = np.arange(self.mask.shape[2]) < self.n_options[:, None]
        slots = np.arange(self.mask.shape[1]) < self.n_slots[:, None]
        if not np.array_equal(self.mask, first[:, None, :] & slots[:, :, None]):
            raise ValueError(
                "a question's options come first and all its groups are offered all of them; "
                "this table differs; choose another"
            )
        if self.n_slots.max() < 2 or not self.n_labels:
            raise ValueError(
                "the comparison needs several groups a question and labels that recur; got "
                f"{self.n_slots.max()} groups and {self.n_labels} labels; choose another table"
            )

    def save(self, path: Path) -> None:
        """Write all arrays as one ``.npz``."""
        np.savez(path, **self._asdict())

    def existing(self) -> list[tuple[int, int]]:
        """Shape and option of the elements of ``shape_logit`` that a question has."""
        found = zip(self.shape, self.n_options, strict=True)
        return sorted({(int(shape), option) for shape, size in found for option in range(size)})


def load_problem(path: Path) -> Problem:
    """What ``Problem.save`` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        return Problem(**arrays)


Point = dict[str, np.ndarray]
"""``TOP_LEVEL`` on their own scale; ``unit_PART``, the groups' effects in units of their spread,
with sum zero; ``label_unit``, likewise; ``shares`` [question, option], zero off the options.

Densities are with regard to these: sum-zero effects in an orthonormal basis of their space,
shares by all but one of a question's.
"""


def random_point(problem: Problem, rng: np.random.Generator) -> Point:
    """Somewhere in the wider neighbourhood of the posterior."""
    point: Point = {}
    for names, priors in ((SLOPES, problem.slopes), (SCALE_TERMS, problem.scale_terms)):
        for name, (loc, scale) in zip(names, priors, strict=True):
            point[name] = np.array(rng.normal(loc, scale))
    shapes = (int(problem.n_shapes), problem.mask.shape[2])
    point["shape_logit"] = rng.normal(0.0, problem.shape_spread, shapes)
    for name, spread in (
        ("sd_label", problem.label_spread),
        *((f"sd_{part}", problem.group_spread) for part in PARTS),
    ):
        point[name] = np.array(rng.gamma(spread[0], 1.0 / spread[1]))
    point["kappa"] = np.exp(np.array(rng.normal(*problem.log_kappa)))
    point["phi"] = np.exp(np.array(rng.normal(*problem.log_phi)))
    point["label_unit"] = rng.normal(size=int(problem.n_labels))
    for part in PARTS:
        unit = rng.normal(size=int(problem.n_groups))
        point[f"unit_{part}"] = unit - unit.mean()
    answers = np.where(problem.offered, 20.0 * _pooled(problem) + 1.0, 0.0)
    point["shares"] = np.stack(
        [
            np.pad(rng.dirichlet(row[:size]), (0, len(row) - size))
            for row, size in zip(answers, problem.n_options, strict=True)
        ]
    )
    return point


def _pooled(problem: Problem) -> Float[np.ndarray, "question option"]:
    total = problem.counts.sum(axis=1)
    return np.asarray(total / total.sum(axis=1, keepdims=True))


def save_points(points: list[Point], path: Path) -> None:
    """Write points as one ``.npz``, their number first in every array."""
    np.savez(path, **{name: np.stack([one[name] for one in points]) for name in points[0]})


def load_points(path: Path) -> list[Point]:
    """What ``save_points`` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        stacked = dict(arrays)
    n_points = len(next(iter(stacked.values())))
    return [{name: values[at] for name, values in stacked.items()} for at in range(n_points)]
