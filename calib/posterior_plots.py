"""Figures and figures' numbers from the posterior of a fitted model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

from calib.errors import DataError, Fault
from calib.exaggeration import log_share_slopes
from calib.plots import CALIBRATED, CHAINS, INK, RAW, Plot, finish, label, new_figure, tidy

if TYPE_CHECKING:
    import xarray as xr

MOST_SOURCES: Final = 3
MOST_PARAMETERS: Final = 12


@dataclass(frozen=True)
class GroupEffect:
    """Posterior medians and 90 % intervals, (median, low, high), of one source and group."""

    source: str
    group: str
    between: tuple[float, float, float]
    within: tuple[float, float, float]
    exaggeration: tuple[float, float, float] | None
    """1 / within; None where the interval of within reaches zero, for it has no bounds then."""


def read_posterior(path: Path) -> xr.Dataset:
    """The posterior group of a NetCDF file, in memory; ``DataError`` where it is broken."""
    import xarray as xr

    try:
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            posterior: xr.Dataset = tree["posterior"].to_dataset().load()
    except (OSError, KeyError, ValueError) as error:
        raise DataError(
            Fault(
                rule="a posterior must be a NetCDF file with the group posterior",
                value=" ".join(str(error).split())[:200],
                remedy="the file is damaged: evaluate again",
            ),
            file=path,
        ) from None
    if not {"chain", "draw"} <= set(posterior.dims):
        raise DataError(
            Fault(
                rule="a posterior must have the dimensions chain and draw",
                value=", ".join(map(str, posterior.dims)) or "none",
                remedy="evaluate again",
            ),
            file=path,
        )
    return posterior


def group_effects(posterior: xr.Dataset) -> list[GroupEffect]:
    """Slopes on log shares by source and group; empty where the model has none."""
    names = ("beta_between_group", "beta_within_group")
    if any(name not in posterior or "group" not in posterior[name].dims for name in names):
        return []
    between, within = (
        log_share_slopes(posterior, name).transpose("chain", "draw", "source", "group")
        for name in names
    )
    effects = []
    for i, source in enumerate(within["source"].to_numpy()):
        for j, group in enumerate(within["group"].to_numpy()):
            own = _spread(within.to_numpy()[:, :, i, j])
            ratio = None
            if own[1] > 0 or own[2] < 0:
                ratio = _spread(1 / within.to_numpy()[:, :, i, j])
            other = _spread(between.to_numpy()[:, :, i, j])
            effects.append(GroupEffect(str(source), str(group), other, own, ratio))
    return effects


def _spread(draws: Float[np.ndarray, "chain draw"]) -> tuple[float, float, float]:
    median, low, high = np.quantile(draws, [0.5, 0.05, 0.95])
    return float(median), float(low), float(high)


def forests(effects: list[GroupEffect]) -> list[Plot]:
    """One panel a source: both slopes of every group with 90 % intervals."""
    plots = []
    for source in list(dict.fromkeys(effect.source for effect in effects))[:MOST_SOURCES]:
        own = [effect for effect in effects if effect.source == source][::-1]
        figure = new_figure(1.5 + 0.36 * len(own))
        axes = figure.subplots()
        place = np.arange(len(own), dtype=float)
        for shift, name, text, colour, marker in (
            (0.13, "between", "between questions", RAW, "o"),
            (-0.13, "within", "between groups of a question", CALIBRATED, "s"),
        ):
            median, low, high = np.array([getattr(effect, name) for effect in own]).T
            axes.hlines(place + shift, low, high, color=colour, linewidth=1.8)
            axes.plot(median, place + shift, marker, color=colour, markersize=5, label=text)
        for value in (0, 1):
            axes.axvline(value, color="#777777", linewidth=0.9, linestyle=":", zorder=0)
        axes.set_yticks(place, [label(effect.group, width=24) for effect in own])
        axes.set_ylim(-0.6, len(own) - 0.4)
        axes.set_xlabel("Slope (1: taken as it is, 0: ignored)", fontsize=10)
        tidy(axes, grid="x")
        figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=9)
        texts = "; ".join(
            f"{e.group} between {e.between[0]:.2f}, within {e.within[0]:.2f}" for e in own[::-1]
        )
        plots.append(
            finish(
                figure,
                f"Forest plot of the slopes of {source}: {texts}.",
                f"{source}: posterior medians and 90 % intervals.",
            )
        )
    return plots


def top_level(posterior: xr.Dataset) -> dict[str, Float[np.ndarray, "chain draw"]]:
    """Scalars, then per-source parameters, that the fit sampled, by name."""
    found: dict[str, np.ndarray] = {}
    for name, variable in sorted(posterior.data_vars.items(), key=lambda one: one[1].ndim):
        if not {"chain", "draw"} <= set(variable.dims):
            continue
        extra = [dim for dim in variable.dims if dim not in ("chain", "draw")]
        if any(dim != "source" for dim in extra):
            continue
        if not extra:
            found[str(name)] = variable.transpose("chain", "draw").to_numpy()
        else:
            draws = variable.transpose("source", "chain", "draw").to_numpy()
            sources = posterior[name]["source"].to_numpy()
            one = len(sources) == 1
            for source, values in zip(sources, draws, strict=True):
                found[str(name) if one else f"{name}[{source}]"] = values
    return found


def traces_and_ranks(parameters: dict[str, Float[np.ndarray, "chain draw"]]) -> list[Plot]:
    """One panel a parameter: draws in their order, and the ranks of each chain's draws.

    Chains that mix look like noise around one level, and their ranks are flat.
    Source: Vehtari et al., Bayesian Analysis 16 (2021), 667-718.
    """
    plots = []
    for name, draws in list(parameters.items())[:MOST_PARAMETERS]:
        n_chains, n_draws = draws.shape
        ranks = rankdata(draws).reshape(draws.shape)
        n_bins = int(np.clip(n_draws // 15, 4, 20))
        edges = np.linspace(0.5, draws.size + 0.5, n_bins + 1)
        figure = new_figure(2.0)
        left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
        for chain in range(n_chains):
            colour = CHAINS[chain % len(CHAINS)]
            left.plot(draws[chain], color=colour, linewidth=0.6, alpha=0.75)
            height = np.histogram(ranks[chain], edges)[0] / (n_draws / n_bins)
            right.stairs(height, edges, color=colour, linewidth=1.3)
        right.axhline(1, color="#777777", linewidth=0.9, linestyle=":")
        right.set_ylim(bottom=0)
        left.set_xlabel("draw", fontsize=9)
        right.set_xlabel("rank of all draws", fontsize=9)
        figure.suptitle(label(name, width=60, lines=1), fontsize=10, color=INK)
        for axes in (left, right):
            tidy(axes)
            axes.tick_params(labelsize=8)
            axes.locator_params(axis="x", nbins=4)
        plots.append(
            finish(
                figure,
                f"Trace and rank plot of {name}: {n_chains} chains of {n_draws} draws, "
                f"mean {draws.mean():.3f}.",
                f"{name}: draws of {n_chains} chains (left), ranks relative to uniform (right).",
            )
        )
    return plots
