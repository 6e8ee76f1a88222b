"""Regressions of human shares on features of options, tuned by folds of questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from calib.base import Prediction
from calib.opinions import Elicited, Index, close
from calib.paired import Paired
from calib.trivial import prediction_of

N_FOLDS: Final = 5
"""Inner folds by question; fewer where there are fewer questions."""
MIN_QUESTIONS_TO_TUNE: Final = 3
"""With fewer training questions a regression takes its default instead of tuning."""

Penalty = Literal["ridge", "lasso"]
LINEAR_GRIDS: Final[Mapping[Penalty, tuple[float, ...]]] = {
    # From heavy to light; the first wins where scores tie. scikit-learn's ridge penalty is
    # relative to the sum over options, its lasso penalty to their mean.
    "ridge": tuple(np.logspace(4, -3, 15).tolist()),
    "lasso": tuple(np.logspace(-1, -6, 11).tolist()),
}
LINEAR_DEFAULTS: Final[Mapping[Penalty, float]] = {"ridge": 1.0, "lasso": 1e-3}
# The least leaf alone says how far a forest smooths; tuning its depth beside it gained nothing.
FOREST_GRID: Final = (160, 80, 40, 20, 10, 5)
FOREST_DEFAULT: Final = 10
N_TREES: Final = 200
N_TREES_TUNING: Final = 10


class Choices(NamedTuple):
    """What is learnt from: one entry for each option of each training cell."""

    features: Float[np.ndarray, "entry feature"]
    target: Float[np.ndarray, " entry"]
    """The human share of the option."""
    question: Int[np.ndarray, " entry"]
    """The entry's question by the rank of its key; the unit of inner folds."""

    @property
    def n_questions(self) -> int:
        """Questions that the entries belong to."""
        return len(np.unique(self.question))


@dataclass(frozen=True)
class Linear:
    """A linear regression as plain numbers."""

    intercept: float
    coefficients: tuple[float, ...]
    penalty: float
    """The penalty that the inner folds chose."""

    def predict(self, features: Float[np.ndarray, "entry feature"]) -> Float[np.ndarray, " entry"]:
        """Intercept plus coefficients times features."""
        predicted: np.ndarray = self.intercept + features @ np.array(self.coefficients)
        return predicted

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "intercept": self.intercept,
            "coefficients": list(self.coefficients),
            "penalty": self.penalty,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Linear:
        """The inverse of ``as_dict``."""
        return cls(values["intercept"], tuple(values["coefficients"]), values["penalty"])


def choices(paired: Paired, features: Float[np.ndarray, "entry feature"]) -> Choices:
    """Entries in an order that depends on neither the table's rows nor its option order.

    ``features`` has one row for each true value of the mask, in row-major order.
    """
    index = paired.index
    target = paired.human.probs[index.mask]
    rank = np.empty(len(index.questions), dtype=np.int64)
    rank[sorted(range(len(rank)), key=lambda number: index.question_keys[number])] = np.arange(
        len(rank)
    )
    question = rank[index.question_of_row[row_of_entry(index)]]
    order = np.lexsort((target, *features.T, question))
    return Choices(features[order], target[order], question[order])


def row_of_entry(index: Index) -> Int[np.ndarray, " entry"]:
    """The row of each true value of the mask, in row-major order."""
    return np.nonzero(index.mask)[0]


def fit_linear(learnt_from: Choices, penalty: Penalty, seed: int) -> Linear:
    """Ridge or lasso, its penalty tuned by squared error over inner folds of questions."""
    from sklearn.linear_model import Lasso, Ridge

    grid, default = LINEAR_GRIDS[penalty], LINEAR_DEFAULTS[penalty]
    make = Ridge(alpha=default) if penalty == "ridge" else Lasso(alpha=default, max_iter=100_000)
    fitted = _tuned(make, {"alpha": grid}, learnt_from, seed)
    return Linear(float(fitted.intercept_), tuple(fitted.coef_.tolist()), float(fitted.alpha))


def fit_forest(learnt_from: Choices, seed: int) -> Any:
    """A random forest of 200 trees, its least leaf tuned over inner folds of questions.

    Tuned with 10 trees: what is compared is how far to smooth, which few trees tell as well.
    """
    from sklearn.base import clone
    from sklearn.ensemble import RandomForestRegressor

    few = RandomForestRegressor(
        N_TREES_TUNING, min_samples_leaf=FOREST_DEFAULT, random_state=seed, n_jobs=1
    )
    tuned = _tuned(few, {"min_samples_leaf": FOREST_GRID}, learnt_from, seed)
    forest = clone(tuned).set_params(n_estimators=N_TREES)
    return forest.fit(learnt_from.features, learnt_from.target)


def _tuned(
    estimator: Any, grid: Mapping[str, Sequence[Any]], learnt_from: Choices, seed: int
) -> Any:
    from sklearn.model_selection import GridSearchCV, GroupKFold

    if learnt_from.n_questions < MIN_QUESTIONS_TO_TUNE:
        return estimator.fit(learnt_from.features, learnt_from.target)
    n_folds = min(N_FOLDS, learnt_from.n_questions)
    search = GridSearchCV(
        estimator,
        dict(grid),
        scoring="neg_mean_squared_error",
        cv=GroupKFold(n_folds, shuffle=True, random_state=seed),
        n_jobs=1,
    )
    search.fit(learnt_from.features, learnt_from.target, groups=learnt_from.question)
    return search.best_estimator_


def closed_prediction(
    elicited: Elicited,
    answered: Bool[np.ndarray, " row"],
    predicted: Float[np.ndarray, " entry"],
    counts: Mapping[str, int],
) -> Prediction:
    """Options' predicted shares, each on its own, made distributions.

    Negative shares are clipped at 0 and each row is divided by its sum; a row with nothing
    left becomes uniform. How often is in the prediction's counts. ``predicted`` has one
    entry for each option of the answered rows.
    """
    index = elicited.index
    shares = np.zeros(index.mask.shape)
    shares[index.mask & answered[:, None]] = predicted
    clipped = np.maximum(shares, 0.0)
    total = clipped.sum(axis=1)
    empty = answered & (total == 0)
    closed = np.where(empty[:, None], index.uniform(), close(clipped, index.mask))
    repairs = {
        "source_cells_filled": elicited.n_filled,
        "shares_clipped_at_zero": int((shares < 0).sum()),
        "rows_renormalised": int((answered & ~empty & (np.abs(total - 1) > 1e-9)).sum()),
        "rows_without_mass_set_to_uniform": int(empty.sum()),
    }
    return prediction_of(elicited, closed, {**repairs, **counts})
