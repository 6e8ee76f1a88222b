"""What a user might take instead of the calibrators that are shipped: peers for a table.

Each keeps the contract of ``calib.base.Calibrator``, so that ``calib.heldout`` runs it on the
same folds. Penalties and neighbours are tuned by inner folds of questions, as those of the
shipped regressions are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from calib.base import Calibrator, Prediction
from calib.opinions import Elicited, Index, close
from calib.paired import Paired
from calib.perchoice import PerChoice
from calib.regress import (
    MIN_QUESTIONS_TO_TUNE,
    N_FOLDS,
    Choices,
    choices,
    closed_prediction,
    row_of_entry,
)
from calib.structured import common_features
from calib.survey import Group, Question, Shape
from calib.trivial import LOG_FLOOR, Temperature, prediction_of

PENALTIES: Final = (10.0, 1.0, 0.1, 0.01, 0.001)
NEIGHBOURS: Final = (32, 16, 8, 4, 2, 1)
BOOSTING_GRID: Final = {"learning_rate": (0.02, 0.1), "max_leaf_nodes": (4, 16)}
"""Of 100 trees."""


class Ranked(NamedTuple):
    """Rows of one scale shape, their options in the order of the scale."""

    shape: Shape
    row: Int[np.ndarray, " row"]
    option: Int[np.ndarray, "row rank"]
    """Which option of the row has the rank; nominal options keep the survey's order."""

    def of(self, values: np.ndarray) -> Float[np.ndarray, "row rank"]:
        """Values [row, option] of all rows, as [row, rank] of these."""
        found: np.ndarray = np.take_along_axis(values[self.row], self.option, axis=1)
        return found

    def put(self, into: np.ndarray, values: Float[np.ndarray, "row rank"]) -> None:
        """The inverse of ``of``."""
        into[self.row[:, None], self.option] = values


def ranked(index: Index) -> Iterator[Ranked]:
    """All rows, shape by shape."""
    for shape in sorted({question.shape for question in index.questions}):
        orders = {
            number: np.argsort(question.places, kind="stable")
            for number, question in enumerate(index.questions)
            if question.shape == shape
        }
        row = np.flatnonzero(np.isin(index.question_of_row, list(orders)))
        yield Ranked(shape, row, np.stack([orders[q] for q in index.question_of_row[row]]))


def inner_folds(
    question: Int[np.ndarray, " row"], seed: int
) -> Sequence[tuple[np.ndarray, np.ndarray]]:
    """Rows to learn from and to choose by; none where there are too few questions."""
    from sklearn.model_selection import GroupKFold

    n_questions = len(np.unique(question))
    if n_questions < MIN_QUESTIONS_TO_TUNE:
        return ()
    folds = GroupKFold(min(N_FOLDS, n_questions), shuffle=True, random_state=seed)
    return list(folds.split(question, groups=question))


class DirichletMap(Calibrator):
    r"""Dirichlet calibration: :math:`q = softmax(W \log p + b)`, one map a scale shape.

    Multinomial logistic regression on log shares, human shares in place of labels; ODIR
    penalty λ (Σ off-diagonal W² / k(k−1) + Σ b² / k), λ tuned (Kull et al., Beyond temperature
    scaling, NeurIPS 2019, with both of its penalties the same). A map has as many rows as a
    question has options, in the order of the scale, hence one a number of ordered options.
    Unordered options have nothing in common over questions that a row of W could stand for:
    they, and shapes not seen, get one temperature for all (counted).
    """

    name = "dirichlet-map"

    def _fit(self, training: Paired, seed: int) -> None:
        self.fallback_ = Temperature().fit(training, seed=seed)
        self.maps_: dict[Shape, tuple[np.ndarray, np.ndarray]] = {}
        logs = _log_shares(training.elicited)
        for part in ranked(training.index):
            if not part.shape.ordered:
                continue
            data = [part.of(v) for v in (logs, training.index.mask, training.human.probs)]
            question = training.index.question_of_row[part.row]
            losses = np.zeros(len(PENALTIES))
            for learn, choose in inner_folds(question, seed):
                held = [one[choose] for one in data]
                fitted = None
                for number, penalty in enumerate(PENALTIES):
                    fitted = fit_map(*(one[learn] for one in data), penalty, fitted)
                    losses[number] += -np.sum(held[2] * mapped(held[0], held[1], *fitted)[1])
            self.maps_[part.shape] = fit_map(*data, PENALTIES[int(losses.argmin())])

    def _predict(self, elicited: Elicited) -> Prediction:
        base = self.fallback_.predict(elicited)
        shares, without = base.opinions.probs.copy(), 0
        logs = _log_shares(elicited)
        for part in ranked(elicited.index):
            if part.shape in self.maps_:
                found, _ = mapped(
                    part.of(logs), part.of(elicited.index.mask), *self.maps_[part.shape]
                )
                part.put(shares, found)
            else:
                without += len(part.row)
        counts = {**base.counts, "rows_without_a_map_of_their_scale": without}
        return prediction_of(elicited, close(shares, elicited.index.mask), counts)


def _log_shares(elicited: Elicited) -> Float[np.ndarray, "row option"]:
    """Of several sources the mean of their logarithms; 0 where an option was not offered."""
    logs = np.log(np.maximum(elicited.filled, LOG_FLOOR)).mean(axis=0)
    return np.where(elicited.index.mask, logs, 0.0)


def mapped(
    logs: Float[np.ndarray, "row rank"],
    mask: Bool[np.ndarray, "row rank"],
    weights: Float[np.ndarray, "rank rank"],
    intercept: Float[np.ndarray, " rank"],
) -> tuple[Float[np.ndarray, "row rank"], Float[np.ndarray, "row rank"]]:
    """Shares under a map, and their logarithms: 0 off the mask."""
    from scipy.special import log_softmax

    found = log_softmax(np.where(mask, logs @ weights.T + intercept, -1e300), axis=1)
    return np.where(mask, np.exp(found), 0.0), np.where(mask, found, 0.0)


def fit_map(
    logs: Float[np.ndarray, "row rank"],
    mask: Bool[np.ndarray, "row rank"],
    human: Float[np.ndarray, "row rank"],
    penalty: float,
    begin: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[Float[np.ndarray, "rank rank"], Float[np.ndarray, " rank"]]:
    """W and b at the least mean cross-entropy with its penalty; convex, so there is one.

    ``begin`` is where the search begins: the identity if None.
    """
    from scipy.optimize import minimize

    size = logs.shape[1]
    off = (1 - np.eye(size)) * penalty / max(size * (size - 1), 1)

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights, intercept = flat[: size * size].reshape(size, size), flat[size * size :]
        shares, log_shares = mapped(logs, mask, weights, intercept)
        value = -(human * log_shares).sum() / len(logs)
        value += (off * weights**2).sum() + penalty / size * (intercept**2).sum()
        miss = np.where(mask, shares - human, 0.0) / len(logs)
        slope = miss.T @ logs + 2 * off * weights
        down = miss.sum(axis=0) + 2 * penalty / size * intercept
        return float(value), np.concatenate([slope.ravel(), down])

    weights, intercept = (np.eye(size), np.zeros(size)) if begin is None else begin
    at = np.concatenate([weights.ravel(), intercept])
    flat = minimize(loss, at, jac=True, method="L-BFGS-B", options={"maxiter": 2000}).x
    return flat[: size * size].reshape(size, size), flat[size * size :]


def _boosted(learnt_from: Choices, seed: int, categorical: int | None) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.model_selection import GridSearchCV

    boosting = HistGradientBoostingRegressor(
        early_stopping=False,
        categorical_features=None if categorical is None else [categorical],
        random_state=seed,
    )
    folds = inner_folds(learnt_from.question, seed)
    if not folds:
        return boosting.fit(learnt_from.features, learnt_from.target)
    search = GridSearchCV(boosting, BOOSTING_GRID, scoring="neg_mean_squared_error", cv=folds)
    return search.fit(learnt_from.features, learnt_from.target).best_estimator_


class Boosting(PerChoice):
    """Gradient boosting in place of the published forest: the option's own share alone."""

    name = "boosting"

    def _learn(self, learnt_from: Choices, seed: int) -> Any:
        return _boosted(learnt_from, seed, None)


class BoostingStructured(Calibrator):
    """Gradient boosting given what ``ridge-structured`` is given, the group as a category."""

    name = "boosting-structured"

    def _fit(self, training: Paired, seed: int) -> None:
        self.groups_ = training.index.groups
        learnt_from = choices(training, self._features(training.elicited))
        self.regressor_ = _boosted(learnt_from, seed, learnt_from.features.shape[1] - 1)

    def _features(self, elicited: Elicited) -> Float[np.ndarray, "entry feature"]:
        index, place = elicited.index, {one: number for number, one in enumerate(self.groups_)}
        # A group that was not seen is missing, which the trees know what to do with.
        number = np.array([place.get(group, np.nan) for group in index.groups])
        own = number[index.group_of_row[row_of_entry(index)]]
        return np.column_stack([common_features(elicited), own])

    def _predict(self, elicited: Elicited) -> Prediction:
        index = elicited.index
        answered = elicited.answered.any(axis=0)
        features = self._features(elicited)[answered[row_of_entry(index)]]
        return closed_prediction(elicited, answered, self.regressor_.predict(features), {})


class Rectifier(Calibrator):
    """Prediction-powered correction carried over to questions that nobody was asked.

    PPI++ corrects a prediction by the mean error where people answered, θ̂ = λ F + mean(Y − λ f)
    (Angelopoulos, Duchi and Zrnic 2023, arXiv 2311.01453). Its guarantee is for the very
    question that people answered, as in ``calib.population.ppi``, and there is none here: of a
    held-out question no answer is known. So the mean is over the training cells of the same
    scale shape, rank by rank, and λ = Σ Cov(Y, f) / Σ Var(f) over them, within [0, 1]. The
    ranks of a nominal scale say nothing and share one mean, which is uniform.
    """

    name = "ppi-rectifier"

    def _fit(self, training: Paired, seed: int) -> None:
        del seed  # Nothing here is random.
        self.rectifiers_: dict[Shape, tuple[float, np.ndarray]] = {}
        llm = training.elicited.pooled()
        for part in ranked(training.index):
            f, y = part.of(llm), part.of(training.human.probs)
            offered = part.of(training.index.mask)
            axis = 0 if part.shape.ordered else None
            count = np.maximum(offered.sum(axis=axis), 1)
            centred = [np.where(offered, v - v.sum(axis=axis) / count, 0.0) for v in (f, y)]
            variance = float((centred[0] ** 2).sum())
            power = float((centred[0] * centred[1]).sum()) / variance if variance else 0.0
            power = min(max(power, 0.0), 1.0)
            mean = np.broadcast_to((y - power * f).sum(axis=axis) / count, f.shape[1:])
            self.rectifiers_[part.shape] = power, mean

    def _predict(self, elicited: Elicited) -> Prediction:
        index, answered = elicited.index, elicited.answered.any(axis=0)
        llm, unseen = elicited.pooled(), 0
        shares = llm.copy()
        for part in ranked(index):
            if part.shape in self.rectifiers_:
                power, mean = self.rectifiers_[part.shape]
                part.put(shares, power * part.of(llm) + mean)
            else:
                unseen += len(part.row)
        counts = {"rows_of_unseen_scale_shapes_left_raw": unseen}
        kept = shares[index.mask & answered[:, None]]
        return closed_prediction(elicited, answered, kept, counts)


class Similarity(Calibrator):
    """The LLM's error on the nearest training questions, taken off its answer.

    Nearest by the cosine of TF-IDF weights of words (wording and options), among questions of
    the same scale shape; the plain mean of the k nearest questions' human less LLM shares, rank
    by rank, of the same group where it was asked and of all groups where not; k tuned. A
    question of a shape that was not seen keeps the LLM's answer (counted).
    """

    name = "similarity"

    def _fit(self, training: Paired, seed: int) -> None:
        best = NEIGHBOURS[0]
        folds = inner_folds(training.index.question_of_row, seed)
        if folds:
            losses = np.zeros(len(NEIGHBOURS))
            for learn, choose in folds:
                held = training.take(choose)
                self._learn(training.take(learn))
                for number, k in enumerate(NEIGHBOURS):
                    shares, _ = self._corrected(held.elicited, k)
                    found = close(np.maximum(shares, 0.0), held.index.mask)
                    found = np.where(np.isnan(found), held.index.uniform(), found)
                    losses[number] += np.square(found - held.human.probs).sum()
            best = NEIGHBOURS[int(losses.argmin())]
        self.k_ = best
        self._learn(training)

    def _learn(self, training: Paired) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        index = training.index
        self.vectorizer_ = TfidfVectorizer(sublinear_tf=True)
        self.weights_ = self.vectorizer_.fit_transform([_text(q) for q in index.questions])
        self.questions_ = index.questions
        self.errors_: list[dict[Group | None, np.ndarray]] = [{} for _ in index.questions]
        error = training.human.probs - training.elicited.pooled()
        for part in ranked(index):
            own = part.of(error)
            question, group = index.question_of_row[part.row], index.group_of_row[part.row]
            for q in np.unique(question):
                rows = np.flatnonzero(question == q)
                self.errors_[q] = {index.groups[group[r]]: own[r] for r in rows}
                self.errors_[q][None] = own[rows].mean(axis=0)

    def _corrected(self, elicited: Elicited, k: int) -> tuple[np.ndarray, int]:
        index, llm = elicited.index, elicited.pooled()
        alike = self.vectorizer_.transform([_text(q) for q in index.questions]) @ self.weights_.T
        alike = np.asarray(alike.todense())
        shares, unseen = llm.copy(), 0
        for part in ranked(index):
            peers = [n for n, q in enumerate(self.questions_) if q.shape == part.shape]
            if not peers:
                unseen += len(part.row)
                continue
            corrected = part.of(llm)
            question, group = index.question_of_row[part.row], index.group_of_row[part.row]
            for q in np.unique(question):
                order = np.argsort(-alike[q, peers], kind="stable")[:k]
                nearest = [self.errors_[peers[one]] for one in order]
                for row in np.flatnonzero(question == q):
                    own = index.groups[group[row]]
                    corrected[row] += np.mean([e.get(own, e[None]) for e in nearest], axis=0)
            part.put(shares, corrected)
        return shares, unseen

    def _predict(self, elicited: Elicited) -> Prediction:
        answered = elicited.answered.any(axis=0)
        shares, unseen = self._corrected(elicited, self.k_)
        counts = {"rows_of_unseen_scale_shapes_left_raw": unseen}
        kept = shares[elicited.index.mask & answered[:, None]]
        return closed_prediction(elicited, answered, kept, counts)


def _text(question: Question) -> str:
    return " ".join([question.text, *(option.label for option in question.options)])


PEERS: Final[dict[str, type[Calibrator]]] = {
    one.name: one for one in (DirichletMap, Boosting, BoostingStructured, Rectifier, Similarity)
}
