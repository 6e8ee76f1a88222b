"""Per-choice ridge regression given what is known of questions, scales and groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from jaxtyping import Float

from calib.base import Calibrator, Prediction
from calib.opinions import Elicited
from calib.paired import Paired
from calib.regress import Linear, choices, closed_prediction, fit_linear, row_of_entry
from calib.survey import Group

GROUP_SCALE: Final = 0.5
"""Size of a group's own columns beside the common ones; smaller pools groups more."""


class RidgeStructured(Calibrator):
    r"""Ridge regression of each option's human share on structured features.

    For each source the mean of the option's share over the groups of its question, and the
    group's deviation from it: an LLM that exaggerates differences between groups is right in
    the mean and wrong in the deviation. Of the scale: the option's place z in [-1/2, 1/2]
    (0 on nominal scales), z² and one over the number of options. All but the last again for
    each group, with an intercept: the ridge penalty draws a group's own part to zero, which
    is partial pooling, and a group not seen in training has the common part alone (counted).

    Question means are taken over the cells at hand, in training as in prediction, so
    predict all groups of a question together. Common features are scaled to unit standard
    deviation over the training entries; the penalty is tuned by inner folds of questions.
    """

    name = "ridge-structured"

    groups_: tuple[Group, ...]
    scale_: Float[np.ndarray, " feature"]
    """Divisors of the common features."""
    regressor_: Linear

    def _fit(self, training: Paired, seed: int) -> None:
        common = common_features(training.elicited)
        spread = common.std(axis=0)
        # A feature that does not vary has nothing to tell; any divisor does.
        self.scale_ = np.where(spread > 1e-12, spread, 1.0)
        self.groups_ = training.index.groups
        features = self._features(training.elicited, common)
        self.regressor_ = fit_linear(choices(training, features), "ridge", seed)

    def _predict(self, elicited: Elicited) -> Prediction:
        index = elicited.index
        answered = elicited.answered.sum(axis=0) > 0
        features = self._features(elicited, common_features(elicited))
        predicted = self.regressor_.predict(features[answered[row_of_entry(index)]])
        unseen = np.array([group not in self.groups_ for group in index.groups], dtype=bool)
        counts = {"rows_with_unseen_group": int((answered & unseen[index.group_of_row]).sum())}
        return closed_prediction(elicited, answered, predicted, counts)

    def _features(
        self, elicited: Elicited, common: Float[np.ndarray, "entry common"]
    ) -> Float[np.ndarray, "entry feature"]:
        """Common features, then an intercept and all but the last of them for each group."""
        index = elicited.index
        scaled = common / self.scale_
        own = np.column_stack([np.ones(len(scaled)), scaled[:, :-1]]) * GROUP_SCALE
        group_of_entry = index.group_of_row[row_of_entry(index)]
        belongs = np.array([[group == own for own in self.groups_] for group in index.groups])
        by_group = belongs[group_of_entry][:, :, None] * own[:, None, :]
        return np.column_stack([scaled, by_group.reshape(len(scaled), -1)])

    def state(self) -> dict[str, Any]:
        """Groups, divisors and coefficients."""
        return {
            "groups": [list(group) for group in self.groups_],
            "scale": self.scale_.tolist(),
            "regressor": self.regressor_.as_dict(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of ``state``."""
        self.groups_ = tuple(Group(*pair) for pair in state["groups"])
        self.scale_ = np.array(state["scale"])
        self.regressor_ = Linear.from_dict(state["regressor"])


def common_features(elicited: Elicited) -> Float[np.ndarray, "entry common"]:
    """Of each option: mean and deviation by source, z, z², one over the number of options."""
    index = elicited.index
    shares, means = elicited.filled, _question_means(elicited)
    place = np.where(index.ordered[:, None], index.places - 0.5, 0.0)
    inverse = index.uniform()
    features = [*means, *(shares - means), place, place**2, inverse]
    return np.stack([feature[index.mask] for feature in features], axis=1)


def _question_means(elicited: Elicited) -> Float[np.ndarray, "source row option"]:
    """Each option's mean share over the groups of its question that were offered it."""
    index = elicited.index
    shares = elicited.filled
    known = index.mask & (elicited.answered.sum(axis=0) > 0)[:, None]
    shape = (len(index.questions), index.mask.shape[1])
    count = np.zeros(shape)
    np.add.at(count, index.question_of_row, known)
    means = np.empty(shares.shape)
    for mean, share in zip(means, shares, strict=True):
        total = np.zeros(shape)
        np.add.at(total, index.question_of_row, np.where(known, share, 0.0))
        of_question = np.divide(total, count, out=np.full(shape, np.nan), where=count > 0)
        mean[:] = of_question[index.question_of_row]
    return means
