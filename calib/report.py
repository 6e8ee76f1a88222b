"""One HTML file that shows what an evaluation found, for people who were not there."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pandas as pd

from calib import plots, posterior_plots
from calib.disclosure import DISCLOSURE, MEANINGS, benchmark_status
from calib.errors import DataError, Fault
from calib.files import atomic_file
from calib.table import read_frame
from calib.verdict import SCORES, Verdict, number, verdict

STUDY_MARKER: Final = "study.json"
"""The file that tells a study's folder from an evaluation's."""
MOST_DETAILED: Final = 3
"""Settings that get figures; all settings get their tables."""

HEADLINE: Final[tuple[tuple[str, str, str], ...]] = (
    ("oa", "OA ↑", ".2f"),
    ("w1", "W1 ↓", ".4f"),
    ("kl_1e3", "KL ↓", ".4f"),
    ("tv", "TV ↓", ".4f"),
    ("coverage_90", "90 % coverage", "%"),
    ("gap_closed_w1", "Gap closed, W1", "%"),
    ("gap_closed_kl_1e3", "Gap closed, KL", "%"),
    ("llm_share_w1", "Beyond train mean, W1", "%"),
    ("llm_share_kl_1e3", "Beyond train mean, KL", "%"),
)
"""Columns of the headline table: key in results.json, heading, format."""

CELL_COLUMNS: Final = frozenset(
    {"sources", "calibrator", "survey", "question_id", "attribute", "group", "w1", "kl_1e3"}
)
PREDICTION_COLUMNS: Final = frozenset(
    {"sources", "calibrator", "survey", "question_id", "question", "option_index", "option"}
    | {"attribute", "group", "p_human", "p_raw", "p_cal"}
)

ACTS: Final[Mapping[str, str]] = {
    "mean": "posterior mean",
    "median": "medians of the options, renormalised",
    "median_cumulative": "pointwise median of the cumulative function",
}


@dataclass(frozen=True)
class Bar:
    """One stacked bar: who answers, and the share of every option."""

    who: str
    shares: tuple[float, ...]


@dataclass(frozen=True)
class Stack:
    """A question with bars for some of its groups."""

    note: str
    question: str
    options: tuple[str, ...]
    colours: tuple[str, ...]
    groups: tuple[tuple[str, tuple[Bar, ...]], ...]


@dataclass(frozen=True)
class Section:
    """Everything about one setting."""

    sources: str
    verdict: Verdict
    rows: Sequence[Mapping[str, Any]]
    of_best: Sequence[Mapping[str, Any]]
    """Differences of the best calibrator from all others, the best first."""
    differences: Sequence[Mapping[str, Any]]
    counts: Sequence[tuple[str, str]]
    acts: Sequence[tuple[str, str, str]]
    detailed: bool
    scatters: Sequence[plots.Plot] = ()
    bars: plots.Plot | None = None
    stacks: Sequence[Stack] = ()
    models: Sequence[Model] = field(default=())

    @property
    def with_draws(self) -> set[str]:
        """Calibrators whose scores rest on different point predictions."""
        return {name for name, _, _ in self.acts}


@dataclass(frozen=True)
class Model:
    """What is shown of one fitted posterior."""

    calibrator: str
    effects: Sequence[posterior_plots.GroupEffect]
    forests: Sequence[plots.Plot]
    traces: Sequence[plots.Plot]
    n_parameters: int

    @property
    def n_sources(self) -> int:
        """Sources that the fit had slopes for."""
        return len({effect.source for effect in self.effects})


def write_report(folder: Path, out: Path) -> None:
    """Turn the folder of an evaluation into one HTML file that needs nothing beside it.

    Parameters
    ----------
    folder
        What ``calib study`` wrote, see ``calib.study.page``, or ``calib evaluate``:
        results.json, cells.parquet, predictions.parquet and models/. An ``about.json`` with
        ``title`` and ``paragraphs`` is shown at the top.
    out
        The file; an earlier one is replaced.

    Raises
    ------
    DataError
        The folder is not an evaluation, or its files are damaged.
    """
    if (folder / STUDY_MARKER).is_file():
        from calib.study.page import write_page

        return write_page(folder, out)
    results = _read_results(folder)
    cells = _read_table(folder / "cells.parquet", CELL_COLUMNS)
    predictions = _read_table(folder / "predictions.parquet", PREDICTION_COLUMNS)
    about = _read_about(folder)
    seed = int(number(results.get("seed") or 0))
    sources = list(dict.fromkeys(str(row["sources"]) for row in results["rows"]))
    sections = [
        _section(name, folder, results, cells, predictions, seed, detailed=i < MOST_DETAILED)
        for i, name in enumerate(sources)
    ]
    status = benchmark_status(results["rows"])
    html = (
        environment()
        .get_template("report.html.j2")
        .render(
            about=about,
            results=results,
            disclosure=(*DISCLOSURE, status, MEANINGS[status]),
            versions=list(_flat(results.get("versions") or {})),
            columns=HEADLINE,
            sections=sections,
            n_detailed=sum(section.detailed for section in sections),
            most_parameters=posterior_plots.MOST_PARAMETERS,
            most_sources=posterior_plots.MOST_SOURCES,
        )
    )
    with atomic_file(out) as draft:
        draft.write_text(html, encoding="utf-8")


def show(value: object, style: str = ".4f") -> str:
    """A score for a table cell; a dash where it is undefined."""
    score = number(value)
    if math.isnan(score):
        return "–"
    text = f"{100 * score:.1f}" if style == "%" else f"{score:{style}}"
    # A rounded zero has no sign.
    text = text.lstrip("+-") if float(text) == 0 else text
    return f"{text} %" if style == "%" else text


def environment() -> Any:
    """Jinja with the package's templates; everything put into them is escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("calib"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["show"] = show
    return environment


def _fault(rule: str, value: str, file: Path) -> DataError:
    remedy = "name a folder that calib evaluate or calib study wrote, or evaluate again"
    return DataError(Fault(rule=rule, value=value, remedy=remedy), file=file)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _fault(f"an evaluation holds {path.name}", "no such file", path) from None
    except (OSError, ValueError) as error:
        raise _fault(f"{path.name} must be readable JSON", str(error)[:200], path) from None


def _read_results(folder: Path) -> dict[str, Any]:
    path = folder / "results.json"
    results = _read_json(path)
    rows = results.get("rows") if isinstance(results, dict) else None
    if not isinstance(rows, list) or not rows:
        raise _fault("results.json lists the rows of an evaluation", "none", path)
    for row in rows:
        if not isinstance(row, dict) or not {"sources", "calibrator"} <= set(row):
            raise _fault("a row names its sources and calibrator", repr(row)[:100], path)
        for key, _, _ in HEADLINE:
            if not isinstance(row.get(key), int | float | None):
                raise _fault(f"{key} is a number or null", repr(row[key])[:60], path)
    needed = {"sources", "a", "b", "score", "mean", "lo", "hi"}
    for one in results.setdefault("differences", []):
        if not isinstance(one, dict) or not needed <= set(one):
            raise _fault("a difference has " + ", ".join(sorted(needed)), repr(one)[:100], path)
    complete: dict[str, Any] = results
    return complete


def _read_about(folder: Path) -> dict[str, Any] | None:
    path = folder / "about.json"
    if not path.exists():
        return None
    about = _read_json(path)
    if not isinstance(about, dict) or not isinstance(about.get("paragraphs", []), list):
        raise _fault("about.json has a title and a list of paragraphs", repr(about)[:60], path)
    return {"title": str(about.get("title", "")), "paragraphs": about.get("paragraphs", [])}


def _read_table(path: Path, columns: frozenset[str]) -> pd.DataFrame:
    frame = read_frame(path)
    missing = sorted(columns - set(frame.columns))
    if missing:
        raise _fault(f"{path.name} has all columns of an evaluation", f"no {missing[0]}", path)
    return frame


def _section(
    sources: str,
    folder: Path,
    results: Mapping[str, Any],
    cells: pd.DataFrame,
    predictions: pd.DataFrame,
    seed: int,
    *,
    detailed: bool,
) -> Section:
    rows = [row for row in results["rows"] if row["sources"] == sources]
    differences = [one for one in results["differences"] if one["sources"] == sources]
    own_cells = cells[cells["sources"] == sources]
    found = verdict(rows, differences, own_cells, seed)
    counts = list(_flat((results.get("counts") or {}).get(sources) or {}))
    for row in rows:
        counts += [(f"{row['calibrator']}: {k}", v) for k, v in _flat(row.get("counts") or {})]
    acts = [
        (str(row["calibrator"]), score, ACTS.get(name, name))
        for row in rows
        for score, name in _flat(row.get("acts") or {})
        if name in ACTS
    ]
    turned = [one for one in map(_turn(found.best), differences) if one is not None]
    if not detailed:
        return Section(sources, found, rows, turned, differences, counts, acts, detailed=False)
    models = [_model(row, folder) for row in rows if row.get("model")]
    of_best = predictions[
        (predictions["sources"] == sources) & (predictions["calibrator"] == found.best)
    ]
    return Section(
        sources,
        found,
        rows,
        turned,
        differences,
        counts,
        acts,
        detailed=True,
        scatters=plots.scatters(of_best, found.best),
        bars=plots.alignment_bars(own_cells, found.best, seed=seed),
        stacks=_stacks(of_best, own_cells[own_cells["calibrator"] == found.best]),
        models=models,
    )


def _turn(best: str) -> Callable[[Mapping[str, Any]], dict[str, Any] | None]:
    """Turns differences that involve the best calibrator into best minus other."""

    def turn(one: Mapping[str, Any]) -> dict[str, Any] | None:
        if one["score"] not in SCORES or best not in (one["a"], one["b"]):
            return None
        if one["a"] == best:
            return dict(one)
        mean, low, high = (None if one[k] is None else -one[k] for k in ("mean", "hi", "lo"))
        return {**one, "a": best, "b": one["a"], "mean": mean, "lo": low, "hi": high}

    return turn


def _model(row: Mapping[str, Any], folder: Path) -> Model:
    path = (folder / str(row["model"]) / "posterior.nc").resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise _fault("a row's model is a folder of the evaluation", repr(row["model"]), folder)
    posterior = posterior_plots.read_posterior(path)
    effects = posterior_plots.group_effects(posterior)
    parameters = posterior_plots.top_level(posterior)
    return Model(
        str(row["calibrator"]),
        effects,
        posterior_plots.forests(effects),
        posterior_plots.traces_and_ranks(parameters),
        len(parameters),
    )


def _stacks(predictions: pd.DataFrame, cells: pd.DataFrame) -> list[Stack]:
    """The questions with the largest and the median W1, with up to three groups each."""
    key = ["survey", "question_id"]
    error = cells.dropna(subset=["w1"]).groupby(key)["w1"].mean().sort_values(kind="stable")
    if error.empty:
        return []
    chosen = {error.index[-1]: "Largest error", error.index[len(error) // 2]: "Median error"}
    stacks = []
    for question, note in chosen.items():
        own = predictions[(predictions[key] == list(question)).all(axis=1)]
        by_group = (
            cells[(cells[key] == list(question)).all(axis=1)]
            .dropna(subset=["w1"])
            .sort_values("w1", kind="stable")[["attribute", "group"]]
            .apply(tuple, axis=1)
            .tolist()
        )
        shown = list(dict.fromkeys([by_group[-1], by_group[len(by_group) // 2], by_group[0]]))
        stacks.append(_stack(f"{note}, W1 {error[question]:.3f}", own, shown))
    return stacks


def _stack(note: str, rows: pd.DataFrame, groups: Sequence[tuple[str, str]]) -> Stack:
    named = rows.drop_duplicates("option_index").sort_values("option_index")
    order = named["option_index"].tolist()
    bars = []
    for attribute, group in groups:
        cell = rows[(rows["attribute"] == attribute) & (rows["group"] == group)]
        cell = cell.set_index("option_index").reindex(order)
        sides = (("Human", "p_human"), ("Raw LLM", "p_raw"), ("Calibrated", "p_cal"))
        shares = [(who, cell[column].fillna(0.0)) for who, column in sides]
        drawn = tuple(Bar(who, tuple(map(float, share))) for who, share in shares if share.any())
        bars.append((f"{attribute}: {group}", drawn))
    colours = _shades(len(order))
    question = str(named["question"].iloc[0])
    return Stack(note, question, tuple(map(str, named["option"])), colours, tuple(bars))


def _shades(n: int) -> tuple[str, ...]:
    """Colours along a scale that differ in lightness too, for any colour vision."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    scale = colormaps["viridis"]
    return tuple(to_hex(scale(0.08 + 0.87 * i / max(n - 1, 1))) for i in range(n))


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Names and values of nested mappings, as text."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}: ")
        else:
            yield f"{before}{name}", str(value)
