"""What a fit leaves, in ArviZ's form: draws with named dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from jaxtyping import Float

from calib.blocks import Block
from calib.opinions import Index
from calib.paired import Paired
from calib.scores import log_ways
from calib.survey import Shape

if TYPE_CHECKING:
    from xarray import DataTree

    from calib.sampling import Samples

N_STORED_PREDICTIVE: Final = 200
"""Draws of the training rows' shares that a saved model keeps for predictive checks."""

GIVEN_UP: Final = "divergences_given_up"
"""Attribute of the tree: divergent transitions of earlier attempts, ``Samples.given_up``."""

PER_CELL: Final = ("kernel", "mean_shares")
"""Sites that are no parameters: log density and mean of each cell."""

DIMS: Final[Mapping[str, list[str]]] = {
    "beta_between": ["source"],
    "beta_within": ["source"],
    "beta_contradiction": ["source"],
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


def to_tree(
    samples: Samples,
    training: Paired,
    respondents: Float[np.ndarray, " row"],
    block: Block,
    *,
    inference: str,
) -> DataTree:
    """Groups posterior, sample_stats, log_likelihood, posterior_predictive and the data.

    Without those of the questions where the fit did not keep what belongs to them: such a fit
    is of a large survey, and its rows then have numbers for names. The attribute ``inference``
    of the tree says how the posterior was found, and ``GIVEN_UP`` whether at the first attempt.
    """
    import arviz_base

    index, sites = training.index, samples.sites
    groups: dict[str, Mapping[str, Any]] = {"posterior": parameters_of(samples, block)}
    if samples.stats:
        groups["sample_stats"] = samples.stats
    if "kernel" in sites:
        cells = (slice(None), slice(None), block.question, block.slot)
        # The model leaves out what holds counts alone.
        ways = log_ways(training.human.probs * respondents[:, None])
        groups["log_likelihood"] = {"answers": sites["kernel"][cells] + ways}
        shares = sites["mean_shares"][cells]
        every = max(1, int(np.ceil(shares.shape[0] * shares.shape[1] / N_STORED_PREDICTIVE)))
        groups["posterior_predictive"] = {"shares": shares[:, ::every].astype(np.float32)}
    tree: DataTree = arviz_base.from_dict(
        groups
        | {"observed_data": {"human": training.human.probs}, "constant_data": {"n": respondents}},
        coords={
            "source": [str(setting) for setting in training.elicited.settings],
            "group": [str(group) for group in index.groups],
            "question": ["/".join(key) for key in index.question_keys],
            "shape": [_shape_name(shape) for shape in block.shapes],
            "option_label": list(block.labels[1:]),
            "option": np.arange(index.mask.shape[1]),
            "row": _row_names(index) if "log_likelihood" in groups else np.arange(len(index)),
        },
        dims=dict(DIMS),
        attrs={"/": {"inference": inference, GIVEN_UP: samples.given_up}},
    )
    return tree


def parameters_of(samples: Samples, block: Block) -> dict[str, np.ndarray]:
    """Draws of the model's parameters, without what only pads the arrays.

    All [chain, draw, …]. An option that a shape of scale does not have is NaN.
    """
    found = {
        name: values
        for name, values in samples.sites.items()
        if name not in PER_CELL and not name.startswith("off_") and not name.endswith("_unit")
    }
    found["shape_logit"] = np.array(found["shape_logit"][:, :, : len(block.shapes)])
    for number, shape in enumerate(block.shapes):
        found["shape_logit"][:, :, number, shape.n_options :] = np.nan
    if "label_logit" in found:
        found["label_logit"] = found["label_logit"][:, :, 1 : len(block.labels)]
    if "question_logit" in found:
        n_questions = len(block.index.questions)
        found["question_logit"] = found["question_logit"][:, :, :n_questions]
    return found


def _row_names(index: Index) -> list[str]:
    return [
        f"{'/'.join(index.question_keys[q])} | {index.groups[g]}"
        for q, g in zip(index.question_of_row, index.group_of_row, strict=True)
    ]


def _shape_name(shape: Shape) -> str:
    return f"{shape.n_options} {'ordered' if shape.ordered else 'unordered'}"
