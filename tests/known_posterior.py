"""A Dirichlet model that knows the truth of a simulated survey: no sampling, sharp checks."""

from __future__ import annotations

import arviz_base
import numpy as np

from calib.anchor import respondents_by_group
from calib.blocks import Block, recurrent_labels
from calib.dirichlet import Dirichlet
from calib.paired import Paired
from calib.simulate import SimulatedSurvey

N_DRAWS = 400


def knows_the_truth(simulated: SimulatedSurvey, paired: Paired, seed: int = 0) -> Dirichlet:
    """The model of the simulation, as if fitted on ``paired`` without any doubt left.

    The simulation's groups must be sorted, as those of pairs are, its ``sd_shape`` zero and
    its labels none.
    """
    truth, effects = simulated.truth, simulated.group_effects
    assert truth.sd_shape == truth.n_labels == 0
    labels = recurrent_labels(paired.index.questions)
    shapes = Block(paired.index, labels).shapes
    values = {
        "beta_between": [effects["beta_between"].mean()],
        "beta_within": [effects["beta_within"].mean()],
        "beta_contradiction": [truth.beta_contradiction],
        "log_floor": [np.log(truth.floor)],
        "sd_between": truth.sd_between,
        "sd_within": truth.sd_within,
        "sd_scale_linear": truth.sd_scale_linear,
        "sd_scale_curve": truth.sd_scale_curve,
        "scale_linear": effects["scale_linear"].mean(),
        "scale_curve": effects["scale_curve"].mean(),
        "shape_logit": np.zeros((len(shapes), paired.index.mask.shape[1])),
        "kappa": truth.kappa,
        "phi": truth.phi,
        "beta_between_group": effects["beta_between"][None],
        "beta_within_group": effects["beta_within"][None],
        "scale_linear_group": effects["scale_linear"],
        "scale_curve_group": effects["scale_curve"],
    }
    if len(paired.index.groups) == 1:
        # As in a fit: nothing to differ, and kappa stands for the cell's error too.
        values = {
            name: value
            for name, value in values.items()
            if name != "phi" and not name.endswith("_group")
        }
    model = Dirichlet()
    model.settings_ = paired.elicited.settings
    model.groups_, model.shapes_, model.seed_ = paired.index.groups, tuple(shapes), seed
    model.labels_ = labels
    model.respondents_, model.n_assumed_ = respondents_by_group(paired), 0
    model.posterior_ = arviz_base.from_dict(
        {
            "posterior": {
                name: np.broadcast_to(
                    np.asarray(value, dtype=float), (1, N_DRAWS, *np.shape(value))
                )
                for name, value in values.items()
            }
        }
    )
    return model
