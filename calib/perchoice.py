"""Per-choice regression as published: one option's LLM share to the same option's human share.

Source: Kambhatla et al., Improving the Distributional Alignment of LLMs using Supervision
(arXiv 2507.00439): options are predicted independently of each other and then renormalised;
one regressor pooled over all groups. Hyperparameters are tuned by inner folds of questions.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol, runtime_checkable
from zipfile import ZIP_DEFLATED

import numpy as np
from jaxtyping import Float

from calib.base import Calibrator, Prediction
from calib.errors import CalibError
from calib.opinions import Elicited
from calib.paired import Paired
from calib.regress import (
    Choices,
    Linear,
    choices,
    closed_prediction,
    fit_forest,
    fit_linear,
    row_of_entry,
)
from calib.survey import Group

MIN_QUESTIONS_PER_GROUP: Final = 2
"""A group answered for fewer training questions is predicted by the pooled regressor."""
FOREST_FILE: Final = "forests.skops"
TRUSTED_TYPES: Final = ("sklearn.tree._tree.Tree",)
"""What a forest holds beside the types that skops trusts by itself."""


@runtime_checkable
class Regressor(Protocol):
    """Features of options to their shares."""

    def predict(self, features: Float[np.ndarray, "entry feature"]) -> Float[np.ndarray, " entry"]:
        """One share for each entry, unconstrained."""


class PerChoice(Calibrator):
    """Regresses each option's human share on its LLM share, one feature per source.

    A source that is silent in a cell is filled with the mean of those that spoke. Per-group
    variants keep one regressor for each group with at least two training questions; rows
    of other groups fall back on the pooled one and are counted.
    """

    per_group: ClassVar[bool] = False

    groups_: tuple[Group, ...]
    """Groups with a regressor of their own; none in a pooled variant."""
    regressors_: tuple[Any, ...]
    """The pooled regressor, then those of ``groups_`` in order."""

    def _fit(self, training: Paired, seed: int) -> None:
        index = training.index
        parts, own = [training], []
        for number, group in enumerate(index.groups if self.per_group else ()):
            part = training.take(index.group_of_row == number)
            if len(part.index.questions) >= MIN_QUESTIONS_PER_GROUP:
                parts.append(part)
                own.append(group)
        self.groups_ = tuple(own)
        self.regressors_ = tuple(
            self._learn(choices(part, _features(part.elicited)), seed) for part in parts
        )

    @abstractmethod
    def _learn(self, learnt_from: Choices, seed: int) -> Regressor:
        """One tuned regression."""

    def _predict(self, elicited: Elicited) -> Prediction:
        index = elicited.index
        answered = elicited.answered.sum(axis=0) > 0
        place = {group: number for number, group in enumerate(self.groups_, start=1)}
        by_group = np.array([place.get(group, 0) for group in index.groups], dtype=np.int64)
        of_row = by_group[index.group_of_row]
        entry_answered = answered[row_of_entry(index)]
        features = _features(elicited)[entry_answered]
        of_entry = of_row[row_of_entry(index)][entry_answered]
        predicted = np.empty(len(features))
        for number in np.unique(of_entry):
            entries = of_entry == number
            predicted[entries] = self.regressors_[number].predict(features[entries])
        pooled = int((answered & (of_row == 0)).sum())
        counts = {"rows_of_groups_without_own_regressor": pooled} if self.per_group else {}
        return closed_prediction(elicited, answered, predicted, counts)

    def _groups_state(self) -> list[list[str]]:
        return [list(group) for group in self.groups_]

    def _restore_groups(self, state: Mapping[str, Any]) -> None:
        self.groups_ = tuple(Group(*pair) for pair in state["groups"])


def _features(elicited: Elicited) -> Float[np.ndarray, "entry source"]:
    """Each option's share from each source."""
    return elicited.filled[:, elicited.index.mask].T


class _LinearPerChoice(PerChoice):
    """Kept as plain coefficients."""

    def state(self) -> dict[str, Any]:
        """Coefficients of the pooled regressor, then of each group's own."""
        return {
            "groups": self._groups_state(),
            "regressors": [regressor.as_dict() for regressor in self.regressors_],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of ``state``."""
        self._restore_groups(state)
        self.regressors_ = tuple(Linear.from_dict(values) for values in state["regressors"])


class _ForestPerChoice(PerChoice):
    """Kept in a skops file, which holds data and no code."""

    def _learn(self, learnt_from: Choices, seed: int) -> Regressor:
        forest: Regressor = fit_forest(learnt_from, seed)
        return forest

    def state(self) -> dict[str, Any]:
        """The groups with a forest of their own; the forests are in a file."""
        return {"groups": self._groups_state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of ``state``."""
        self._restore_groups(state)

    def save_files(self, folder: Path) -> None:
        """Write all forests to ``forests.skops``."""
        from skops.io import dump

        dump(list(self.regressors_), folder / FOREST_FILE, compression=ZIP_DEFLATED)

    def load_files(self, folder: Path) -> None:
        """Read ``forests.skops``; ``CalibError`` where it holds types other than forests."""
        from skops.io import get_untrusted_types, load

        path = folder / FOREST_FILE
        unknown = sorted(set(get_untrusted_types(file=path)) - set(TRUSTED_TYPES))
        if unknown:
            raise CalibError(
                f"{path} may hold scikit-learn forests only; found {', '.join(unknown)}; "
                "fit the model again"
            )
        self.regressors_ = tuple(load(path, trusted=list(TRUSTED_TYPES)))


class Ridge(_LinearPerChoice):
    """Ridge regression pooled over groups."""

    name = "ridge"

    def _learn(self, learnt_from: Choices, seed: int) -> Regressor:
        return fit_linear(learnt_from, "ridge", seed)


class RidgePerGroup(_LinearPerChoice):
    """One ridge regression for each group."""

    name = "ridge-per-group"
    per_group = True

    def _learn(self, learnt_from: Choices, seed: int) -> Regressor:
        return fit_linear(learnt_from, "ridge", seed)


class Lasso(_LinearPerChoice):
    """Lasso regression pooled over groups."""

    name = "lasso"

    def _learn(self, learnt_from: Choices, seed: int) -> Regressor:
        return fit_linear(learnt_from, "lasso", seed)


class LassoPerGroup(_LinearPerChoice):
    """One lasso regression for each group."""

    name = "lasso-per-group"
    per_group = True

    def _learn(self, learnt_from: Choices, seed: int) -> Regressor:
        return fit_linear(learnt_from, "lasso", seed)


class Forest(_ForestPerChoice):
    """Random forest pooled over groups."""

    name = "forest"


class ForestPerGroup(_ForestPerChoice):
    """One random forest for each group."""

    name = "forest-per-group"
    per_group = True
