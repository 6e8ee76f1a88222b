"""The contract of every calibrator, and the registry that names them all."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import numpy as np
from jaxtyping import Float, Int

from calib.errors import CalibError, FitError
from calib.opinions import Elicited, Opinions
from calib.paired import Counts, Paired
from calib.survey import Setting


@dataclass(frozen=True, eq=False)
class Prediction:
    """Calibrated opinions with what is known of their uncertainty and of repairs."""

    opinions: Opinions
    """The point prediction; of a calibrator with draws, their mean."""
    counts: Counts = field(default_factory=dict)
    """Named repairs and fall-backs, such as clipped shares or groups not seen in training."""
    draws: Float[np.ndarray, "draw row option"] | None = None
    """Joint draws of the groups' true shares; draws of one question share its error."""


class Calibrator(ABC):
    """Learns the LLM's error on some questions and removes it from others.

    ``fit`` learns from rows that people and at least one source answered
    (``paired.complete``), sees the rest never, and fits afresh each time.
    ``predict`` sees elicited opinions only. Settings of the table at prediction may come in
    any order and number, as long as those of the fit are among them.

    A subclass implements ``_fit``, ``_predict`` and, to be saved, ``state`` and ``restore``;
    ``_predict_anchored`` where it can make use of toplines.
    """

    name: ClassVar[str]
    """The word by which the registry and the command line know the calibrator."""

    settings_: tuple[Setting, ...]
    """Sources of the fit, in the order in which the calibrator takes them."""

    def fit(self, paired: Paired, *, seed: int = 0) -> Self:
        """Learn from pairs; returns self. ``FitError`` where there is nothing to learn from."""
        training = paired.take(paired.complete)
        if len(training) == 0:
            raise FitError(
                "a calibrator learns from cells with a human and an LLM answer; found none of "
                f"{len(paired)} cells; check p_human and outcome of the selected settings"
            )
        self.settings_ = paired.elicited.settings
        self._fit(training, seed)
        return self

    def predict(self, elicited: Elicited, toplines: Opinions | None = None) -> Prediction:
        """Calibrated opinions for the rows of ``elicited``.

        Rows that no source answered stay NaN. ``toplines``, from ``calib.toplines``, are
        what all respondents answered, one row a question: those questions are anchored on
        them, the others predicted as without. ``FitError`` where the calibrator cannot
        anchor, or the groups cannot add up to a topline.
        """
        selected = self.sources_of(elicited)
        return (
            self._predict(selected)
            if toplines is None
            else self._predict_anchored(selected, toplines)
        )

    def sources_of(self, elicited: Elicited) -> Elicited:
        """The sources of the fit, in its order; ``CalibError`` where there was no fit."""
        if not hasattr(self, "settings_"):
            raise CalibError(f"{self.name} must be fitted before it predicts; call fit")
        return elicited.select(self.settings_)

    def predict_portions(
        self, elicited: Elicited, toplines: Opinions | None = None
    ) -> Iterator[tuple[Int[np.ndarray, " taken"], Prediction]]:
        """As ``predict``, some questions at a time: rows of ``elicited`` and their prediction.

        For tables whose draws would not fit in memory. All rows come once; counts of the whole
        are those of all portions together.
        """
        yield np.arange(len(elicited)), self.predict(elicited, toplines)

    @abstractmethod
    def _fit(self, training: Paired, seed: int) -> None:
        """Learn; every row of ``training`` is complete, some sources may be silent."""

    @abstractmethod
    def _predict(self, elicited: Elicited) -> Prediction:
        """Predict; the sources are those of the fit, in its order."""

    def _predict_anchored(self, _elicited: Elicited, _toplines: Opinions) -> Prediction:
        """Predict with the toplines of some questions."""
        raise FitError(
            "only a calibrator that models what the groups of a question share can be anchored "
            f"on a topline; got {self.name}; fit with --calibrator dirichlet or predict "
            "without toplines"
        )

    def state(self) -> dict[str, Any]:
        """What was learnt, as plain JSON values; what is larger goes to ``save_files``."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of ``state``."""

    def save_files(self, folder: Path) -> None:
        """Write what does not fit in ``state`` to files of ``folder``; never pickle."""

    def load_files(self, folder: Path) -> None:
        """The inverse of ``save_files``."""


REGISTRY: Final[Mapping[str, str]] = {
    "identity": "calib.trivial:Identity",
    "uniform": "calib.trivial:Uniform",
    "train-mean": "calib.trivial:TrainMean",
    "temperature": "calib.trivial:Temperature",
    "simplex": "calib.trivial:Simplex",
    "ridge": "calib.perchoice:Ridge",
    "lasso": "calib.perchoice:Lasso",
    "forest": "calib.perchoice:Forest",
    "ridge-per-group": "calib.perchoice:RidgePerGroup",
    "lasso-per-group": "calib.perchoice:LassoPerGroup",
    "forest-per-group": "calib.perchoice:ForestPerGroup",
    "ridge-structured": "calib.structured:RidgeStructured",
    "dirichlet": "calib.dirichlet:Dirichlet",
}
"""Name to ``module:class``, from the simplest to the richest; loaded only when asked for."""


def make_calibrator(name: str, **settings: Any) -> Calibrator:
    """A new calibrator by its name; ``CalibError`` where there is none of that name.

    ``settings`` are those of the class, and an error where it has none of that name.
    """
    if name not in REGISTRY:
        raise CalibError(
            f"a calibrator must be one of {', '.join(REGISTRY)}; got {name!r}; "
            "names are separated by commas, without spaces"
        )
    module, _, class_name = REGISTRY[name].partition(":")
    made = getattr(import_module(module), class_name)
    known = inspect.signature(made).parameters
    unknown = [setting for setting in settings if setting not in known]
    if unknown:
        raise CalibError(
            f"{name} has no {' or '.join(unknown)} to choose; leave out --"
            f"{' and --'.join(unknown)}, or take the calibrator dirichlet"
        )
    calibrator: Calibrator = made(**settings)
    return calibrator
