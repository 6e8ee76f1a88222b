"""The Dirichlet calibrator: a hierarchical regression of whole answer distributions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from jaxtyping import Float

from calib.anchor import anchors_of, respondents_by_group
from calib.base import Calibrator, Prediction
from calib.blocks import Block, recurrent_labels
from calib.errors import DataError, Fault
from calib.opinions import Elicited, Index, Opinions
from calib.paired import Paired
from calib.posterior import Posterior, draw_shares
from calib.scores import log_ways
from calib.starting import (
    NOTHING_KNOWN,
    information,
    known_effects,
    question_start,
    reach,
    start_values,
)
from calib.survey import Group, Shape

if TYPE_CHECKING:
    from xarray import DataTree

    from calib.models import RegressionData
    from calib.sampling import Plan, Samples, Start

ASSUMED_N: Final = 1000.0
"""Effective respondents where ``n_human`` is unknown; see ``training_cells_assumed_n``."""
QUESTION_PADDING: Final = 8
SHAPE_PADDING: Final = 4
LABEL_PADDING: Final = 16
"""Questions, scale shapes and recurrent labels are padded to multiples of these, so that the
folds of a table share one compiled program."""
N_DRAWS: Final = 1000
"""Draws of an approximation of the posterior."""
N_STORED_PREDICTIVE: Final = 200
"""Draws of the training rows' shares that a saved model keeps for predictive checks."""
Inference = Literal["nuts", "laplace"]
"""How a posterior is found: sampled, or by its mode and curvature."""
POSTERIOR_FILE: Final = "posterior.nc"

DIMS: Final[Mapping[str, list[str]]] = {
    "beta_between": ["source"],
    "beta_within": ["source"],
    "log_floor": ["source"],
    "beta_between_group": ["source", "group"],
    "beta_within_group": ["source", "group"],
    "label_logit": ["option_label"],
    "scale_linear_group": ["group"],
    "scale_curve_group": ["group"],
    "shape_logit": ["shape", "option"],
    "question_logit": ["question", "option"],
    "answers": ["row"],
    "shares": ["row", "option"],
    "human": ["row", "option"],
    "n": ["row"],
}


class Dirichlet(Calibrator):
    """Joint regression of all options of all groups, with the question's shared error.

    The human counts of a cell are Dirichlet-multinomial around the softmax of the LLM's
    log shares, split into what the groups of a question share and how each differs, with
    slopes for each group around those of the population; see
    ``calib.models.dirichlet_regression``. Sampled by NUTS in 64 bit.

    Declared behaviour: a group not seen in training gets a draw from the population of
    groups (counted as ``rows_of_unseen_groups``), and likewise a shape of scale not seen
    (``rows_of_unseen_scale_shapes``); a source silent in a cell is filled from
    those that spoke (``source_cells_filled``); where ``n_human`` is unknown ``ASSUMED_N``
    is taken (``training_cells_assumed_n``).

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

    def __init__(self, plan: Plan | None = None, *, inference: Inference = "nuts") -> None:
        self.plan = plan
        self.inference: Inference = inference

    def _fit(self, training: Paired, seed: int) -> None:
        import jax

        from calib.models import dirichlet_regression
        from calib.sampling import Plan, sample

        self.groups_ = training.index.groups
        self.respondents_ = respondents_by_group(training)
        self.labels_ = recurrent_labels(training.index.questions)
        self.shapes_ = tuple(Block(training.index, self.labels_).shapes)
        self.seed_ = seed
        n = training.human.n
        unknown = np.ones(len(training), bool) if n is None else np.isnan(n)
        self.n_assumed_ = int(unknown.sum())
        respondents = (
            np.full(len(training), ASSUMED_N) if n is None else np.where(unknown, ASSUMED_N, n)
        )
        with jax.enable_x64(True):
            data, start = regression_data(training, respondents, centred=self.inference == "nuts")
            if self.inference == "nuts":
                plan = self.plan or Plan()
                samples = sample(dirichlet_regression, data, start, plan=plan, seed=seed)
            else:
                from calib.laplace import laplace

                samples = laplace(data, start, n_draws=N_DRAWS, seed=seed)
        self.posterior_ = self._to_arviz(samples, training, respondents)

    def _predict_anchored(self, elicited: Elicited, toplines: Opinions) -> Prediction:
        return self._predict(elicited, toplines)

    def _predict(self, elicited: Elicited, toplines: Opinions | None = None) -> Prediction:
        index = elicited.index
        rows = np.asarray(elicited.answered.any(axis=0))
        counts = {
            "rows_no_source_answered": int((~rows).sum()),
            "source_cells_filled": elicited.n_filled,
            "training_cells_assumed_n": self.n_assumed_,
            "rows_of_unseen_groups": int(
                sum(index.groups[number] not in self.groups_ for number in index.group_of_row[rows])
            ),
            "rows_of_unseen_scale_shapes": int(
                sum(
                    index.questions[number].shape not in self.shapes_
                    for number in index.question_of_row[rows]
                )
            ),
        }
        answered, anchors = elicited.take(rows), None
        if toplines is not None:
            anchors, assumed = anchors_of(answered.index, toplines, self.respondents_)
            counts |= assumed
        posterior = Posterior(self.posterior_, self.groups_, self.shapes_, self.labels_, self.seed_)
        drawn = draw_shares(posterior, answered, anchors)
        draws = np.where(index.mask, np.nan, 0.0)[None].repeat(len(drawn), axis=0)
        draws[:, rows] = drawn
        return Prediction(Opinions(index, _mean(draws, index)), counts, draws)

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

    def _to_arviz(
        self, samples: Samples, training: Paired, respondents: Float[np.ndarray, " row"]
    ) -> DataTree:
        import arviz_base

        index = training.index
        block = Block(index, self.labels_)
        cells = (slice(None), slice(None), block.question, block.slot)
        sites = dict(samples.sites)
        # The model leaves out what holds counts alone.
        ways = log_ways(training.human.probs * respondents[:, None])
        log_likelihood = sites.pop("kernel")[cells] + ways
        shares = sites.pop("mean_shares")[cells]
        sites["shape_logit"] = sites["shape_logit"][:, :, : len(block.shapes)]
        if "label_logit" in sites:
            sites["label_logit"] = sites["label_logit"][:, :, : len(self.labels_)]
        if "question_logit" in sites:
            sites["question_logit"] = sites["question_logit"][:, :, : len(index.questions)]
        every = max(1, int(np.ceil(shares.shape[0] * shares.shape[1] / N_STORED_PREDICTIVE)))
        tree: DataTree = arviz_base.from_dict(
            {
                "posterior": {
                    name: value
                    for name, value in sites.items()
                    if not name.startswith("off_") and not name.endswith("_unit")
                },
                **({"sample_stats": samples.stats} if samples.stats else {}),
                "log_likelihood": {"answers": log_likelihood},
                "posterior_predictive": {"shares": shares[:, ::every].astype(np.float32)},
                "observed_data": {"human": training.human.probs},
                "constant_data": {"n": respondents},
            },
            coords={
                "source": [str(setting) for setting in training.elicited.settings],
                "group": [str(group) for group in index.groups],
                "question": ["/".join(key) for key in index.question_keys],
                "shape": [_shape_name(shape) for shape in block.shapes],
                "option_label": list(self.labels_),
                "option": np.arange(index.mask.shape[1]),
                "row": [
                    f"{'/'.join(index.question_keys[q])} | {index.groups[g]}"
                    for q, g in zip(index.question_of_row, index.group_of_row, strict=True)
                ],
            },
            dims=dict(DIMS),
        )
        return tree


def _shape_name(shape: Shape) -> str:
    return f"{shape.n_options} {'ordered' if shape.ordered else 'unordered'}"


def regression_data(
    training: Paired, respondents: Float[np.ndarray, " row"], *, centred: bool = True
) -> tuple[RegressionData, Start]:
    """Arrays of a fit, and where to start it; call with 64-bit JAX switched on.

    ``centred`` effects of groups are in units that suit a sampler; others have a mode.
    """
    import jax
    import jax.numpy as jnp

    from calib.densities import MEAN_SCALE
    from calib.models import RegressionData
    from calib.sampling import Start

    index = training.index
    n_questions, n_groups = len(index.questions), len(index.groups)
    n_shapes = len({question.shape for question in index.questions})
    labels = recurrent_labels(index.questions)
    n_labels = 1 if len(labels) == 1 else len(labels) + -len(labels) % LABEL_PADDING
    block = Block(
        index,
        labels,
        n_questions + -n_questions % QUESTION_PADDING,
        n_shapes + -n_shapes % SHAPE_PADDING,
    )
    covariates = block.covariates(training.elicited.filled)
    counts = block.of_rows(training.human.probs * respondents[:, None])
    about = question_start(counts, covariates.mask, MEAN_SCALE)
    told = information(covariates, counts, about, n_groups)
    known = known_effects(told) if centred else NOTHING_KNOWN
    data = RegressionData(
        covariates=covariates,
        counts=counts,
        group_number=np.arange(n_groups),
        shape_number=np.arange(block.n_shapes),
        label_number=np.arange(n_labels),
        about=about,
        known=known,
    )
    values = start_values(covariates, n_groups, block.n_shapes, n_labels)
    widths = reach(told, known, n_questions, len(index), n_groups)
    return (
        jax.tree.map(jnp.asarray, data),
        Start(
            {site: jnp.asarray(value) for site, value in values.items()},
            {site: jnp.asarray(widths[site]) for site in values},
        ),
    )


def _mean(
    draws: Float[np.ndarray, "draw row option"], index: Index
) -> Float[np.ndarray, "row option"]:
    mean = draws.mean(axis=0)
    return np.where(index.mask, mean / mean.sum(axis=1, keepdims=True), 0.0)
