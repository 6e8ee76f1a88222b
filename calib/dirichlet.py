"""The Dirichlet calibrator: a hierarchical regression of whole answer distributions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from jaxtyping import Bool, Float, Int

from calib.anchor import anchors_of, respondents_by_group
from calib.base import Calibrator, Prediction
from calib.blocks import Block, recurrent_labels
from calib.errors import DataError, Fault
from calib.fitting import Inference, posterior_samples
from calib.opinions import Elicited, Index, Opinions
from calib.paired import Counts, Paired
from calib.posterior import Posterior, draw_shares
from calib.prior import Learnt, Prior, learnt_prior
from calib.survey import Group, Shape
from calib.tree import to_tree

if TYPE_CHECKING:
    from xarray import DataTree

    from calib.sampling import Plan

ASSUMED_N: Final = 1000.0
"""Effective respondents where ``n_human`` is unknown; see ``training_cells_assumed_n``."""
POSTERIOR_FILE: Final = "posterior.nc"


class Dirichlet(Calibrator):
    """Joint regression of all options of all groups, with the question's shared error.

    The human counts of a cell are Dirichlet-multinomial around the softmax of the LLM's
    log shares, split into what the groups of a question share and how each differs, with
    slopes for each group around those of the population, and of what options of one scale
    shape and of one label have in common; see ``calib.models.dirichlet_regression``. Sampled
    by NUTS in 64 bit, or approximated: the tree's attribute ``inference`` says which.

    Declared behaviour: a group not seen in training gets a draw from the population of
    groups (counted as ``rows_of_unseen_groups``), and likewise a shape of scale not seen
    (``rows_of_unseen_scale_shapes``); a source silent in a cell is filled from
    those that spoke (``source_cells_filled``); where ``n_human`` is unknown ``ASSUMED_N``
    is taken (``training_cells_assumed_n``); what a prior learnt elsewhere does not know of
    settings, groups and scale shapes keeps the general prior (``prior_…_not_known``).

    The mean over a question's groups is taken over the cells at hand, so predict all
    groups of a question together.

    Anchored on a topline, a question's shared logits are solved for in each draw: the
    expected shares of its groups, weighted as in ``calib.anchor.group_weights``, add up to
    it. What had to be assumed is counted, see ``calib.anchor.anchors_of``.
    """

    name = "dirichlet"

    posterior_: DataTree
    """Posterior in ArviZ's form: groups posterior, sample_stats, log_likelihood,
    posterior_predictive, observed_data and constant_data."""

    def __init__(
        self,
        plan: Plan | None = None,
        *,
        inference: Inference = "nuts",
        prior: Callable[[Prior], Prior] | Learnt | None = None,
    ) -> None:
        """How to fit.

        Parameters
        ----------
        plan
            Lengths of the sampler's chains.
        inference
            ``nuts`` samples the posterior; ``laplace`` and ``svi`` are faster and take a
            normal distribution for it, the second a portion of the questions at a time.
        prior
            Turns the general prior into another, or says what another model learnt
            (``calib.prior.learnt_prior``); None takes the general prior.
        """
        self.plan = plan
        self.inference: Inference = inference
        self.prior = prior
        self.prior_name_: str | None = None
        self.prior_counts_: dict[str, int] = {}

    def _fit(self, training: Paired, seed: int) -> None:
        self.groups_ = training.index.groups
        self.respondents_ = respondents_by_group(training)
        self.labels_ = recurrent_labels(training.index.questions)
        block = Block(training.index, self.labels_)
        self.shapes_ = tuple(block.shapes)
        self.seed_ = seed
        n = training.human.n
        unknown = np.ones(len(training), bool) if n is None else np.isnan(n)
        self.n_assumed_ = int(unknown.sum())
        respondents = (
            np.full(len(training), ASSUMED_N) if n is None else np.where(unknown, ASSUMED_N, n)
        )
        samples = posterior_samples(
            training,
            respondents,
            inference=self.inference,
            plan=self.plan,
            seed=seed,
            prior=self._prior_of(training, block),
        )
        self.posterior_ = to_tree(samples, training, respondents, block, inference=self.inference)

    def _prior_of(self, training: Paired, block: Block) -> Callable[[Prior], Prior] | None:
        if not isinstance(self.prior, Learnt):
            return self.prior
        learnt, settings = self.prior, training.elicited.settings
        groups, shapes = training.index.groups, block.shapes
        self.prior_name_ = learnt.name
        self.prior_counts_ = dict(learnt.lacks(settings, groups, shapes))
        return lambda general: learnt_prior(learnt, settings, groups, shapes, general)

    def _predict_anchored(self, elicited: Elicited, toplines: Opinions) -> Prediction:
        return self._predict(elicited, toplines)

    def _predict(self, elicited: Elicited, toplines: Opinions | None = None) -> Prediction:
        index = elicited.index
        counts: dict[str, int] = {}
        draws = np.empty((0, *index.mask.shape))
        for rows, part in self._portions(elicited, toplines):
            assert part.draws is not None
            if not counts:
                draws = np.empty((len(part.draws), *index.mask.shape))
            draws[:, rows], counts = part.draws, {**counts, **part.counts}
        return Prediction(Opinions(index, _mean(draws, index)), counts, draws)

    def predict_portions(
        self, elicited: Elicited, toplines: Opinions | None = None
    ) -> Iterator[tuple[Int[np.ndarray, " taken"], Prediction]]:
        """As ``predict``, some questions at a time; the first portion has all counts."""
        yield from self._portions(self.sources_of(elicited), toplines)

    def _portions(
        self, elicited: Elicited, toplines: Opinions | None
    ) -> Iterator[tuple[Int[np.ndarray, " taken"], Prediction]]:
        index = elicited.index
        known = np.asarray(elicited.answered.any(axis=0))
        rows = np.flatnonzero(known)
        counts = self._counts(elicited, known)
        answered, anchors = elicited.take(rows), None
        if toplines is not None:
            anchors, assumed = anchors_of(answered.index, toplines, self.respondents_)
            counts |= assumed
        posterior = Posterior(self.posterior_, self.groups_, self.shapes_, self.labels_, self.seed_)

        def of(rows: Int[np.ndarray, " taken"], draws: np.ndarray, counts: Counts) -> Prediction:
            part = index.take(rows)
            return Prediction(Opinions(part, _mean(draws, part)), counts, draws)

        silent = np.flatnonzero(~known)
        nothing = np.where(index.mask[silent], np.nan, 0.0)
        yield silent, of(silent, np.tile(nothing, (posterior.n_draws, 1, 1)), counts)
        for taken, draws in draw_shares(posterior, answered, anchors):
            yield rows[taken], of(rows[taken], draws, {})

    def _counts(self, elicited: Elicited, rows: Bool[np.ndarray, " row"]) -> dict[str, int]:
        """What had to be assumed, by name; ``rows`` are those that a source answered."""
        index = elicited.index
        new_group = np.array([group not in self.groups_ for group in index.groups], dtype=bool)
        new_shape = np.array([q.shape not in self.shapes_ for q in index.questions], dtype=bool)
        return {
            "rows_no_source_answered": int((~rows).sum()),
            "source_cells_filled": elicited.n_filled,
            "training_cells_assumed_n": self.n_assumed_,
            **self.prior_counts_,
            "rows_of_unseen_groups": int(new_group[index.group_of_row[rows]].sum()),
            "rows_of_unseen_scale_shapes": int(new_shape[index.question_of_row[rows]].sum()),
        }

    def learnt(self, name: str) -> Learnt:
        """What the fit learnt, to be the prior of another; ``name`` is for the record."""
        return Learnt(self.posterior_, self.settings_, self.groups_, self.shapes_, name)

    def state(self) -> dict[str, Any]:
        """Groups and their respondents (null: not known), scale shapes, seed, assumed sizes."""
        return {
            "groups": [list(group) for group in self.groups_],
            "respondents": [
                None if np.isnan(n) else n for n in (self.respondents_[g] for g in self.groups_)
            ],
            "shapes": [list(shape) for shape in self.shapes_],
            "labels": list(self.labels_),
            "seed": self.seed_,
            "cells_assumed_n": self.n_assumed_,
            "inference": self.inference,
            "prior": self.prior_name_,
            "prior_counts": self.prior_counts_,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of ``state``."""
        self.groups_ = tuple(Group(*group) for group in state["groups"])
        self.respondents_ = {
            group: np.nan if n is None else float(n)
            for group, n in zip(self.groups_, state["respondents"], strict=True)
        }
        self.shapes_ = tuple(Shape(*shape) for shape in state["shapes"])
        self.labels_ = tuple(state["labels"])
        self.seed_ = int(state["seed"])
        self.n_assumed_ = int(state["cells_assumed_n"])
        self.inference = state["inference"]
        self.prior_name_, self.prior_counts_ = state["prior"], dict(state["prior_counts"])

    def save_files(self, folder: Path) -> None:
        """Write the posterior as NetCDF, which ArviZ opens."""
        self.posterior_.to_netcdf(folder / POSTERIOR_FILE, engine="h5netcdf")

    def load_files(self, folder: Path) -> None:
        """Read the posterior; ``DataError`` where the file is missing or damaged."""
        import xarray

        path = folder / POSTERIOR_FILE
        try:
            with xarray.open_datatree(path, engine="h5netcdf") as tree:
                self.posterior_ = tree.load()
        except (OSError, ValueError, KeyError) as error:
            raise DataError(
                Fault(
                    rule="a dirichlet model holds its posterior as NetCDF",
                    value=" ".join(str(error).split())[:200],
                    remedy="fit the model again",
                ),
                file=path,
            ) from None


def _mean(
    draws: Float[np.ndarray, "draw row option"], index: Index
) -> Float[np.ndarray, "row option"]:
    mean = draws.mean(axis=0)
    return np.where(index.mask, mean / mean.sum(axis=1, keepdims=True), 0.0)
