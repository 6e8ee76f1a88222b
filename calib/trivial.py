"""Calibrators with at most a handful of parameters: the yardsticks for all others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float

from calib.base import Calibrator, Prediction
from calib.opinions import Elicited, Opinions, close
from calib.paired import Counts, Paired
from calib.survey import Question, Shape

LOG_FLOOR: Final = 1e-3
"""Least share whose logarithm is taken by ``temperature``."""
TEMPERATURES: Final = (0.05, 100.0)
"""Where ``temperature`` looks; at the upper end nothing is left of the LLM's answer."""


def prediction_of(
    elicited: Elicited, shares: Float[np.ndarray, "row option"], counts: Counts
) -> Prediction:
    """Predicted shares as a prediction; rows that no source answered become NaN and count."""
    silent = ~elicited.answered.any(axis=0, keepdims=True).T
    opinions = Opinions(elicited.index, np.where(elicited.index.mask & silent, np.nan, shares))
    return Prediction(opinions, {**counts, "rows_no_source_answered": int(silent.sum())})


class Identity(Calibrator):
    """The LLM's own answer; of several sources, the mean of those that answered."""

    name = "identity"

    def _fit(self, training: Paired, seed: int) -> None:
        pass

    def _predict(self, elicited: Elicited) -> Prediction:
        counts = {"source_cells_filled": elicited.n_filled}
        return prediction_of(elicited, elicited.pooled(), counts)


class Uniform(Calibrator):
    """Equal shares: no people, no LLM."""

    name = "uniform"

    def _fit(self, training: Paired, seed: int) -> None:
        pass

    def _predict(self, elicited: Elicited) -> Prediction:
        return prediction_of(elicited, elicited.index.uniform(), {})


class TrainMean(Calibrator):
    """Mean human answer to training questions of the same scale shape: people, no LLM.

    Options are matched by their rank on the scale, whatever their order; those that share a
    place share their ranks evenly, as all options of a nominal question do, which is why a
    nominal question gets uniform shares. A rank's mean is over the cells that were offered
    it; the means are then divided by their sum over the options offered in the row. Shapes not
    seen in training get uniform shares.
    """

    name = "train-mean"

    means_: dict[Shape, Float[np.ndarray, " rank"]]

    def _fit(self, training: Paired, seed: int) -> None:
        del seed  # Nothing here is random.
        index, shares = training.index, training.human.probs
        total: dict[Shape, Float[np.ndarray, " rank"]] = {}
        offered: dict[Shape, Float[np.ndarray, " rank"]] = {}
        for number, question in enumerate(index.questions):
            rows, n_options = index.question_of_row == number, len(question.options)
            ranks, none = _ranks(question), np.zeros(n_options)
            of_ranks = shares[rows, :n_options].sum(axis=0) @ ranks
            total[question.shape] = total.get(question.shape, none) + of_ranks
            of_ranks = index.mask[rows, :n_options].sum(axis=0) @ ranks
            offered[question.shape] = offered.get(question.shape, none) + of_ranks
        # A rank that no cell was offered keeps its sum, which is zero.
        self.means_ = {shape: total[shape] / np.maximum(offered[shape], 1) for shape in total}

    def _predict(self, elicited: Elicited) -> Prediction:
        index = elicited.index
        weights = np.zeros((len(index.questions), index.mask.shape[1]))
        for number, question in enumerate(index.questions):
            mean = self.means_.get(question.shape, np.ones(len(question.options)))
            weights[number, : len(question.options)] = _ranks(question) @ mean
        shares = close(weights[index.question_of_row], index.mask)
        unseen = np.array([q.shape not in self.means_ for q in index.questions], dtype=bool)
        empty = np.isnan(shares).any(axis=1)
        counts = {
            "rows_with_unseen_scale_shape": int(unseen[index.question_of_row].sum()),
            "rows_without_mass_set_to_uniform": int(empty.sum()),
        }
        shares = np.where(empty[:, None], index.uniform(), shares)
        return prediction_of(elicited, shares, counts)

    def state(self) -> dict[str, Any]:
        """The mean share of each rank, by shape."""
        return {
            "means": [
                {"ordered": shape.ordered, "n_options": shape.n_options, "by_rank": mean.tolist()}
                for shape, mean in self.means_.items()
            ]
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of ``state``."""
        self.means_ = {
            Shape(entry["ordered"], entry["n_options"]): np.array(entry["by_rank"])
            for entry in state["means"]
        }


def _ranks(question: Question) -> Float[np.ndarray, "option rank"]:
    """What part of each rank on the scale an option holds; rows and columns sum to one."""
    # NaN, the place of every nominal option, counts as one place.
    places, tie = np.unique(question.places, return_inverse=True)
    size = np.bincount(tie, minlength=len(places))
    tie_of_rank = np.repeat(np.arange(len(places)), size)
    ranks: np.ndarray = (tie[:, None] == tie_of_rank) / size[tie][:, None]
    return ranks


class Temperature(Calibrator):
    r"""One temperature for all answers: :math:`q \propto p^{1/T}`.

    p is the log-pool of the sources (geometric mean), shares below 1e-3 raised to it before.
    T minimises the mean over training rows of KL(human ‖ q), in [0.05, 100]. Source: Guo et
    al., On Calibration of Modern Neural Networks (ICML 2017), with shares in place of labels.
    """

    name = "temperature"

    temperature_: float

    def _fit(self, training: Paired, seed: int) -> None:
        from scipy.optimize import minimize_scalar

        del seed  # Nothing here is random.
        logits, human = self._log_pool(training.elicited), training.human.probs
        mask = training.index.mask

        def loss(log_temperature: float) -> float:
            scaled = logits / np.exp(log_temperature)
            # KL up to the human entropy, which T does not change.
            return float(-(human * (scaled - _log_sum(scaled, mask))).sum(axis=1).mean())

        found = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded")
        self.temperature_ = float(np.exp(found.x))

    def _predict(self, elicited: Elicited) -> Prediction:
        mask = elicited.index.mask
        scaled = self._log_pool(elicited) / self.temperature_
        shares = close(np.exp(scaled - _log_sum(scaled, mask)), mask)
        below = (elicited.probs < LOG_FLOOR) & mask
        counts = {
            "source_cells_filled": elicited.n_filled,
            "shares_raised_to_1e-3": int(below.sum()),
        }
        return prediction_of(elicited, shares, counts)

    @staticmethod
    def _log_pool(elicited: Elicited) -> Float[np.ndarray, "row option"]:
        mask = elicited.index.mask
        logs = np.log(np.maximum(elicited.filled, LOG_FLOOR)).mean(axis=0)
        return np.where(mask, logs, 0.0)

    def state(self) -> dict[str, Any]:
        """The temperature."""
        return {"temperature": self.temperature_}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of ``state``."""
        self.temperature_ = state["temperature"]


def _log_sum(
    logits: Float[np.ndarray, "row option"], mask: Bool[np.ndarray, "row option"]
) -> Float[np.ndarray, "row one"]:
    from scipy.special import logsumexp

    total: np.ndarray = logsumexp(np.where(mask, logits, -np.inf), axis=1, keepdims=True)
    return total


class Simplex(Calibrator):
    r"""Constrained least squares on all options at once: a mixture of sources and uniform.

    :math:`q = \sum_j w_j p_j + w_u u` with weights that are non-negative and sum to one,
    minimising :math:`\sum_i \|q_i - p_i^{human}\|^2` over training rows.
    """

    name = "simplex"

    weights_: Float[np.ndarray, " part"]

    def _fit(self, training: Paired, seed: int) -> None:
        from scipy.optimize import nnls

        del seed  # Nothing here is random.
        mask = training.index.mask
        # With weights that sum to one, Σ w_j p_j - p = Σ w_j (p_j - p): errors mix as answers do.
        errors = (self._parts(training.elicited) - training.human.probs)[:, mask].T
        scale = float(np.linalg.norm(errors)) or 1.0
        # Asking for a sum of one as a last equation shrinks all weights by one factor and leaves
        # their directions at the constrained optimum, so dividing by the sum is exact.
        system = np.vstack([errors, np.full(errors.shape[1], scale)])
        weights, _ = nnls(system, np.append(np.zeros(len(errors)), scale))
        self.weights_ = weights / weights.sum()

    def _predict(self, elicited: Elicited) -> Prediction:
        mixed = np.tensordot(self.weights_, self._parts(elicited), axes=1)
        counts = {"source_cells_filled": elicited.n_filled}
        return prediction_of(elicited, close(mixed, elicited.index.mask), counts)

    @staticmethod
    def _parts(elicited: Elicited) -> Float[np.ndarray, "part row option"]:
        return np.concatenate([elicited.filled, elicited.index.uniform()[None]])

    def state(self) -> dict[str, Any]:
        """The weights of the sources, then that of uniform."""
        return {"weights": self.weights_.tolist()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of ``state``."""
        self.weights_ = np.array(state["weights"])
