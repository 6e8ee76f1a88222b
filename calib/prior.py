"""What is believed of the parameters before a fit: of LLMs in general, or from another model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from jaxtyping import Float

from calib.formulas import FLOOR, Array
from calib.survey import Group, Setting, Shape

if TYPE_CHECKING:
    from xarray import DataTree

GROUP_PARTS: Final = ("between", "within", "scale_linear", "scale_curve")
"""Of what groups differ: two slopes, two terms of the scale."""
SHAPE_SPREAD: Final = 0.2
"""Standard deviation of what a shape of scale adds to the logit of each option."""
TRANSFER: Final = 0.25
"""How far another survey's parameters may lie from this one's, in standard deviations of the
general prior; their posterior's own doubt is added to it."""


class Normal(NamedTuple):
    """Mean and standard deviation."""

    loc: Float[Array, "*shape"]
    scale: Float[Array, "*shape"]


class Gamma(NamedTuple):
    """Shape and rate; the mean is their ratio."""

    shape: Float[Array, ""]
    rate: Float[Array, ""]


class Prior(NamedTuple):
    """Priors of the parameters that all questions share."""

    beta_between: Normal
    beta_within: Normal
    beta_contradiction: Normal
    log_floor: Normal
    """One for each source."""
    scale_linear: Normal
    scale_curve: Normal
    shape_logit: Normal
    """For each scale shape and option."""
    log_kappa: Normal
    log_phi: Normal
    groups: Float[Array, "part group"]
    """Where groups' effects are expected, by ``GROUP_PARTS``; they sum to zero over groups."""
    group_spread: Gamma
    """Of how much groups differ around that, on the log-share scale."""
    label_spread: Gamma
    """Of how much options of one label have in common, as a logit."""


def general_prior(n_sources: int, n_groups: int, n_shapes: int, n_options: int) -> Prior:
    """What is known of LLMs and surveys in general.

    Several sources share the weight that one would have had, and the doubt about it.
    """

    def each(loc: float, scale: float) -> Normal:
        return Normal(np.full(n_sources, loc), np.full(n_sources, scale))

    share = n_sources**-0.5
    shapes = (n_shapes, n_options)
    return Prior(
        beta_between=each(0.8 / n_sources, 0.5 * share),
        beta_within=each(0.5 / n_sources, 0.5 * share),
        beta_contradiction=each(0.0, 0.5 * share),
        log_floor=each(np.log(FLOOR), 1.0),
        # Within what is seen of LLMs on surveys: wider, a few answered questions' own errors
        # would be taken for the LLM's.
        scale_linear=Normal(np.array(0.0), np.array(0.4)),
        scale_curve=Normal(np.array(0.0), np.array(1.0)),
        shape_logit=Normal(np.zeros(shapes), np.full(shapes, SHAPE_SPREAD)),
        # κ from 5 to 47, φ from 12 to 311 with 90 %.
        log_kappa=Normal(np.array(np.log(15.0)), np.array(0.7)),
        log_phi=Normal(np.array(np.log(60.0)), np.array(1.0)),
        groups=np.zeros((len(GROUP_PARTS), n_groups)),
        # 0.04 to 0.31 with 90 %. It keeps away from zero, where effects would get stuck, and
        # has a short tail: slopes on an LLM that says nearly the same of every question could
        # otherwise differ without bound.
        group_spread=Gamma(np.array(3.0), np.array(20.0)),
        # 0.08 to 0.63.
        label_spread=Gamma(np.array(3.0), np.array(10.0)),
    )


class Learnt(NamedTuple):
    """A fitted posterior with the names of what it knows, to be another fit's prior."""

    posterior: DataTree
    settings: Sequence[Setting]
    groups: Sequence[Group]
    shapes: Sequence[Shape]
    name: str
    """Of the model, for the record."""

    def lacks(
        self, settings: Sequence[Setting], groups: Sequence[Group], shapes: Sequence[Shape]
    ) -> Mapping[str, int]:
        """How many settings, groups and scale shapes of a fit it knows nothing of."""
        return {
            "prior_settings_not_known": sum(one not in self.settings for one in settings),
            "prior_groups_not_known": sum(one not in self.groups for one in groups),
            "prior_scale_shapes_not_known": sum(one not in self.shapes for one in shapes),
        }


def learnt_prior(
    learnt: Learnt,
    settings: Sequence[Setting],
    groups: Sequence[Group],
    shapes: Sequence[Shape],
    general: Prior,
) -> Prior:
    """The general prior narrowed to what another model learnt.

    A parameter's mean is the other posterior's, its variance that posterior's and
    (``TRANSFER`` · the general prior's scale)² beside it. A setting that the other model did
    not have is expected at the mean over those that it had, a group at the mean over groups;
    a scale shape keeps the general prior, and so do the spreads of effects: around the other
    model's effects, where it had the group (``Learnt.lacks`` counts what it had not).
    """
    sites = {
        str(name): values.to_numpy().reshape(-1, *values.shape[2:])
        for name, values in learnt.posterior["posterior"].dataset.items()
    }

    def narrowed(draws: np.ndarray, wide: Normal) -> Normal:
        scale = np.sqrt(draws.var(axis=0) + np.square(TRANSFER * np.asarray(wide.scale)))
        return Normal(draws.mean(axis=0), np.minimum(scale, wide.scale))

    def of_sources(site: str, share: float) -> np.ndarray:
        """Draws for each setting of the fit; slopes are shared among more or fewer sources."""
        columns = []
        for setting in settings:
            known = setting in learnt.settings
            column = (
                sites[site][:, list(learnt.settings).index(setting)]
                if known
                else sites[site].mean(axis=1)
            )
            columns.append(column * share)
        return np.stack(columns, axis=1)

    share = len(learnt.settings) / len(settings)
    given: dict[str, Any] = {
        "beta_between": narrowed(of_sources("beta_between", share), general.beta_between),
        "log_floor": narrowed(of_sources("log_floor", 1.0), general.log_floor),
        "scale_linear": narrowed(sites["scale_linear"], general.scale_linear),
        "scale_curve": narrowed(sites["scale_curve"], general.scale_curve),
    }
    # With one group a question and a cell have their error together: another quantity.
    if ("phi" in sites) == (len(groups) > 1):
        given["log_kappa"] = narrowed(np.log(sites["kappa"]), general.log_kappa)
    loc, scale = (np.array(part) for part in general.shape_logit)
    for number, shape in enumerate(shapes):
        if shape in learnt.shapes:
            has = slice(shape.n_options)
            draws = sites["shape_logit"][:, list(learnt.shapes).index(shape), has]
            own = Normal(loc[number, has], scale[number, has])
            loc[number, has], scale[number, has] = narrowed(draws, own)
    given["shape_logit"] = Normal(loc, scale)
    effects = np.array(general.groups)
    if "beta_within" in sites:
        for site in ("beta_within", "beta_contradiction"):
            given[site] = narrowed(of_sources(site, share), getattr(general, site))
        given["log_phi"] = narrowed(np.log(sites["phi"]), general.log_phi)
        for part, row in zip(GROUP_PARTS, effects, strict=True):
            site = part if part.startswith("scale") else f"beta_{part}"
            own = sites[f"{site}_group"] - sites[site][..., None]
            mean = (own.sum(axis=1) if own.ndim == 3 else own).mean(axis=0)
            for number, group in enumerate(groups):
                if group in learnt.groups:
                    row[number] = mean[list(learnt.groups).index(group)]
            row -= row.mean()
    return general._replace(groups=effects, **given)
