"""Figures of an evaluation, drawn without a display and without global state.

Every figure is a narrow panel of its own, so that a page can put panels side by side on a
desk and below each other on a phone, with legible text on both.
"""

from __future__ import annotations

import base64
import io
import re
import textwrap
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from calib.verdict import clustered_mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RAW: Final = "#D55E00"
CALIBRATED: Final = "#0072B2"
INK: Final = "#333333"
CHAINS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's palette, told apart by people with any colour vision."""

SLASH: Final = "\ufdd0"
"""Stands for a slash that lines may be broken after; no text holds this code."""

WIDTH: Final = 4.6
"""Inches; at this width text stays readable on a phone."""


@dataclass(frozen=True)
class Plot:
    """One picture, ready for an ``<img>`` element."""

    uri: str
    """A data URI of a PNG."""
    alt: str
    caption: str


def new_figure(height: float) -> Figure:
    """An empty panel, ``height`` inches high."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), layout="constrained")


def finish(figure: Figure, alt: str, caption: str) -> Plot:
    """The figure as a PNG in a data URI."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    target = io.BytesIO()
    with warnings.catch_warnings():
        # A label in a script that the font lacks shows boxes; the page has it as text too.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        FigureCanvasAgg(figure)
        figure.savefig(target, format="png", dpi=150, metadata={"Software": None})
    return Plot(
        "data:image/png;base64," + base64.b64encode(target.getvalue()).decode("ascii"),
        alt,
        caption,
    )


def tidy(axes: Axes, *, grid: str | None = None) -> None:
    """No box around the data; a quiet grid along one axis if wanted."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9, colors=INK)
    axes.set_axisbelow(True)
    if grid == "x":
        axes.grid(axis="x", color="#dddddd", linewidth=0.7)
    elif grid == "y":
        axes.grid(axis="y", color="#dddddd", linewidth=0.7)


def label(text: str, *, width: int = 20, lines: int = 2) -> str:
    r"""A label that fits beside an axis: wrapped, cut, and with no mathematics in it.

    It breaks after words and slashes; the longest words, where they must.

    >>> label("some-model/verbalized/sd, some", width=16, lines=3)
    'some-model/\nverbalized/sd,\nsome'
    """
    breakable = re.sub(r"/(?=\S)", f"{SLASH} ", text)
    wrapped = textwrap.wrap(breakable, width, max_lines=lines, placeholder=" …") or [text]
    joined = "\n".join(wrapped).replace(f"{SLASH} ", "/").replace(SLASH, "/")
    return joined.replace("$", r"\$")


def scatters(predictions: pd.DataFrame, calibrator: str) -> list[Plot]:
    """Human share against raw and against calibrated share, one point an option and cell.

    ``predictions`` are rows of predictions.parquet of one setting and one calibrator.
    """
    sides = (("p_raw", "Raw LLM", RAW), ("p_cal", f"Calibrated ({calibrator})", CALIBRATED))
    plots = []
    for column, title, colour in sides:
        known = predictions[["p_human", column]].dropna()
        x, y = known[column].to_numpy(float), known["p_human"].to_numpy(float)
        error = 100 * float(np.abs(x - y).mean()) if len(known) else float("nan")
        figure = new_figure(4.3)
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color="#888888", linewidth=1, linestyle="--", zorder=1)
        opacity = float(np.clip(150 / np.sqrt(max(len(known), 1)) / 10, 0.12, 0.8))
        axes.scatter(x, y, s=11, color=colour, alpha=opacity, linewidths=0, zorder=2)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.set_xlabel(f"{label(title, width=40)}: share", fontsize=10)
        axes.set_ylabel("Human share", fontsize=10)
        tidy(axes)
        alt = (
            f"Scatter of {len(known)} option shares: human against {title}; "
            f"mean absolute error {error:.1f} percentage points."
        )
        caption = f"{title}: mean absolute error {error:.1f} percentage points."
        plots.append(finish(figure, alt, caption))
    return plots


def alignment_bars(cells: pd.DataFrame, calibrator: str, *, seed: int) -> Plot | None:
    """Opinion alignment by group, raw and calibrated, with 95 % intervals over questions.

    ``cells`` are rows of cells.parquet of one setting; None where none has a score.
    """
    wanted = [("identity", "Raw LLM", RAW), (calibrator, calibrator, CALIBRATED)]
    wanted = [one for one in wanted if (cells["calibrator"] == one[0]).any()]
    groups = list(cells[["attribute", "group"]].drop_duplicates().itertuples(index=False))
    question = cells["survey"].astype(str) + "\x1f" + cells["question_id"].astype(str)
    table = np.full((len(wanted), len(groups), 3), np.nan)
    for i, (name, _, _) in enumerate(wanted):
        for j, (attribute, group) in enumerate(groups):
            rows = (
                (cells["calibrator"] == name)
                & (cells["attribute"] == attribute)
                & (cells["group"] == group)
            )
            mean = clustered_mean(cells.loc[rows, "w1"], question[rows], seed=seed)
            table[i, j] = 100 * (1 - np.array([mean.mean, mean.high, mean.low]))
    if np.isnan(table[:, :, 0]).all():
        return None
    order = np.argsort(np.where(np.isnan(table[-1, :, 0]), -np.inf, table[-1, :, 0]))
    start = max(0.0, 10 * np.floor((np.nanmin(table) - 4) / 10))
    figure = new_figure(1.3 + 0.42 * len(groups))
    axes = figure.subplots()
    height = 0.8 / len(wanted)
    place = np.arange(len(groups), dtype=float)
    for i, (_, name, colour) in enumerate(wanted):
        mean, low, high = table[i, order].T
        y = place + 0.4 - height * (i + 0.5)
        axes.barh(y, mean - start, height * 0.92, left=start, color=colour, label=label(name))
        axes.hlines(y, low, high, color="black", linewidth=1.3)
    names = [label(f"{groups[j][0]}: {groups[j][1]}", width=24) for j in order]
    axes.set_yticks(place, names)
    axes.set_xlim(start, 100)
    axes.set_ylim(-0.6, len(groups) - 0.4)
    note = f" (axis starts at {start:.0f})" if start else ""
    axes.set_xlabel(f"Opinion alignment{note}", fontsize=10)
    tidy(axes, grid="x")
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    texts = "; ".join(
        f"{groups[j][0]} {groups[j][1]} "
        + ", ".join(f"{name} {table[i, j, 0]:.1f}" for i, (_, name, _) in enumerate(wanted))
        for j in order[::-1]
    )
    return finish(
        figure,
        f"Bars of opinion alignment by group: {texts}.",
        "Opinion alignment by group. Lines: 95 % intervals, questions resampled.",
    )
