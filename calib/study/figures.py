"""Figures of a study: each setting before and after, and what more training questions give."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from calib.plots import CHAINS, INK, Plot, finish, label, new_figure, tidy

MOST_SETTINGS: Final = 24
"""Settings that are drawn; tables have all."""
TITLES: Final[Mapping[str, str]] = {
    "oa": "Opinion alignment (higher is better)",
    "kl_1e3": "KL (lower is better)",
    "mse": "MSE of shares (lower is better)",
}
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Figure:
    """A picture and the numbers in it."""

    plot: Plot
    csv: str
    """A data URI of a CSV file."""
    name: str
    """Of that file."""


def data_uri(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows of equal columns as a CSV file in a data URI."""
    target = io.StringIO()
    writer = csv.DictWriter(target, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    coded = base64.b64encode(target.getvalue().encode()).decode("ascii")
    return f"data:text/csv;charset=utf-8;base64,{coded}"


def before_and_after(rows: Rows, score: str, name: str) -> Figure | None:
    """A score of every setting and calibrator with its interval; rows of one split and size.

    None where no row has the score.
    """
    known = [row for row in rows if row[score] is not None]
    settings = list(dict.fromkeys(setting_name(row) for row in known))[:MOST_SETTINGS]
    known = [row for row in known if setting_name(row) in settings]
    if not known:
        return None
    calibrators = list(dict.fromkeys(str(row["calibrator"]) for row in known))
    figure = new_figure(1.4 + len(settings) * (0.16 + 0.13 * len(calibrators)))
    axes = figure.subplots()
    for number, calibrator in enumerate(calibrators):
        own = [row for row in known if row["calibrator"] == calibrator]
        place = np.array([settings.index(setting_name(row)) for row in own], dtype=float)
        place += 0.8 * ((number + 0.5) / len(calibrators) - 0.5)
        colour, marker = _look(number)
        low, mean, high = _ends(own, score)
        axes.hlines(place, low, high, color=colour, linewidth=1.2)
        axes.plot(mean, place, marker, color=colour, markersize=4.5, label=label(calibrator))
    # matplotlib draws no mathematics in these: label escapes it.
    axes.set_yticks(range(len(settings)), [label(one, width=24, lines=3) for one in settings])
    axes.set_ylim(len(settings) - 0.4, -0.6)
    axes.set_xlabel(TITLES[score], fontsize=10)
    tidy(axes, grid="x")
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    shown = f", the first {MOST_SETTINGS} settings" if len(settings) == MOST_SETTINGS else ""
    return Figure(
        finish(
            figure,
            f"Dots of {TITLES[score]} for {len(settings)} settings and {', '.join(calibrators)}; "
            "the numbers are in the table and the CSV file.",
            f"{TITLES[score]}{shown}. Lines: 95 % intervals, questions resampled.",
        ),
        data_uri([_flat(row, score) for row in known]),
        f"{name}-{score}.csv",
    )


def learning_curve(rows: Rows, score: str, name: str) -> Figure | None:
    """A score against the number of training questions; rows of one split and all sizes.

    Means over settings; of a single setting with its intervals. None for a single size.
    """
    known = [row for row in rows if row[score] is not None]
    if len({row["size"] for row in known}) < 2:
        return None
    calibrators = list(dict.fromkeys(str(row["calibrator"]) for row in known))
    n_settings = len({setting_name(row) for row in known})
    figure = new_figure(3.8)
    axes = figure.subplots()
    data: list[dict[str, object]] = []
    ticks: set[int] = set()
    for number, calibrator in enumerate(calibrators):
        points = []
        for size in dict.fromkeys(row["size"] for row in known):
            own = [row for row in known if (row["calibrator"], row["size"]) == (calibrator, size)]
            if not own:
                continue
            x = float(np.mean([row["training_questions"] for row in own]))
            low, mean, high = (float(np.mean(ends)) for ends in _ends(own, score))
            points.append((x, low, mean, high))
            ticks.add(round(x))
            # Ends of several settings' intervals are no interval of their mean.
            ends = {"lo": low, "hi": high} if n_settings == 1 else {"lo": None, "hi": None}
            data.append(
                {"calibrator": calibrator, "size": size, "training_questions": x,
                 "settings": len(own), "mean": mean, **ends}
            )  # fmt: skip
        x_of, lows, means, highs = np.array(sorted(points)).T
        colour, marker = _look(number)
        axes.plot(x_of, means, f"{marker}-", color=colour, markersize=4.5, label=label(calibrator))
        if n_settings == 1:
            # Side by side, so that one interval does not hide another.
            beside = x_of * (1 + 0.015 * number)
            axes.vlines(beside, lows, highs, color=colour, linewidth=1, alpha=0.6)
    axes.set_xscale("log")
    axes.set_xticks(sorted(ticks), [str(tick) for tick in sorted(ticks)])
    axes.minorticks_off()
    axes.set_xlabel("Training questions", fontsize=10)
    axes.set_ylabel(TITLES[score], fontsize=10)
    tidy(axes, grid="y")
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    asked = ", ".join(map(str, sorted(ticks)))
    lines = "Means over settings" if n_settings > 1 else "Upright lines: 95 % intervals"
    return Figure(
        finish(
            figure,
            f"Lines of {TITLES[score]} against {asked} training questions "
            f"for {', '.join(calibrators)}; the numbers are in the CSV file.",
            f"{TITLES[score]} by number of training questions. {lines}.",
        ),
        data_uri(data),
        f"{name}-curve-{score}.csv",
    )


def setting_name(row: Mapping[str, Any]) -> str:
    """The sources, and where they differ what is predicted from."""
    sources, target = str(row["sources"]), str(row["target"])
    return sources if sources == target else f"{sources} → {target}"


def _flat(row: Mapping[str, Any], score: str) -> dict[str, object]:
    names = ("table", "sources", "target", "split", "size", "calibrator")
    return {name: row[name] for name in names} | {"score": score, **row[score]}


def _ends(rows: Rows, score: str) -> tuple[list[float], list[float], list[float]]:
    """Low ends, means and high ends; the mean stands for ends that are undefined."""
    found = [row[score] for row in rows]
    low, high = (
        [one["mean"] if one[end] is None else one[end] for one in found] for end in ("lo", "hi")
    )
    return low, [one["mean"] for one in found], high


def _look(number: int) -> tuple[str, str]:
    """Colour and marker; both differ, for any colour vision and in print."""
    colours = (INK, *CHAINS)
    return colours[number % len(colours)], "osD^vP*X"[number % 8]
