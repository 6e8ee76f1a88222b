"""Calibrators on held-out questions of real tables: the figures that the documentation quotes.

    python -m benchmarks.heldout run DATA [STUDY ...]     results/heldout/STUDY.json, one a study
    python -m benchmarks.heldout report                   results/heldout.md from all of them

DATA is a folder with opinionqa_dev, synthbench_dev and nytimes_dev as Parquet tables. Five
folds by question; the same folds for every calibrator. ``run`` without names runs all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
from jaxtyping import Float, Int

from benchmarks.record import record, write_markdown
from calib import scores
from calib.acts import act
from calib.anchor import group_weights, respondents_by_group
from calib.base import Calibrator, Prediction
from calib.evaluate import folds_of_questions
from calib.heldout import LEVELS, HeldOut, held_out
from calib.opinions import Index, Opinions, close
from calib.paired import Paired, pair, settings_of
from calib.scores import noise_floor
from calib.sources import parse_sources, sources_label
from calib.summary import clustered_difference, plain, summarise
from calib.table import read_table

FOLDS: Final = 5
SEED: Final = 0
RESULTS: Final = Path(__file__).parent / "results"
BASELINES: Final = ("identity", "train-mean", "ridge", "lasso", "forest", "ridge-structured")
PUBLISHED: Final = ("ridge", "lasso", "forest")
SCORES: Final = ("kl_1e3", "w1")


class Study:
    """Which settings of which table, each a fit of its own or joined."""

    def __init__(self, table: str, sources: str) -> None:
        self.table, self.sources = table, sources


STUDIES: Final = {
    "opinionqa": Study("opinionqa_dev", "prompt=sd"),
    "synthbench": Study("synthbench_dev", "prompt=base"),
    "nytimes": Study("nytimes_dev", "model=gpt-4,elicitation=verbalized,prompt=sd"),
    "opinionqa-sources": Study("opinionqa_dev", "all,prompt=sd|base"),
    "synthbench-sources": Study("synthbench_dev", "all"),
}


@dataclass
class _Looked:
    """What is counted on the Dirichlet's draws while they are there."""

    differences: dict[float, list[float]] = field(default_factory=dict)
    """Whether intervals of differences between groups hold, by level."""
    anchored: list[dict[str, float]] = field(default_factory=list)
    """Scores of each cell: its topline alone, and anchored on it."""
    question: list[int] = field(default_factory=list)
    diagnoses: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, calibrator: Calibrator, test: Paired, prediction: Prediction) -> None:
        assert prediction.draws is not None
        human = test.take(test.complete).human
        self._differences(human, prediction.draws[:, test.complete])
        if len(human.index.groups) > 1:
            self._anchor(calibrator, test)
        self._diagnose(calibrator)

    def _differences(self, human: Opinions, draws: Float[np.ndarray, "draw row option"]) -> None:
        """Between two groups of one attribute, in every option, sampling noise of both with it."""
        index, rng = human.index, np.random.default_rng(SEED)
        n = np.full(len(human), np.nan) if human.n is None else human.n
        observed = scores.sampled_shares(draws, n, rng)
        for question in range(len(index.questions)):
            rows = np.flatnonzero((index.question_of_row == question) & ~np.isnan(n))
            for a, b in combinations(rows.tolist(), 2):
                one, other = (index.groups[index.group_of_row[row]] for row in (a, b))
                if one.attribute != other.attribute:
                    continue
                offered = index.mask[a] & index.mask[b]
                gap = (human.probs[a] - human.probs[b])[offered]
                drawn = (observed[:, a] - observed[:, b])[:, offered]
                for level in LEVELS:
                    ends = ((1 - level) / 2, (1 + level) / 2)
                    low, high = np.quantile(drawn, ends, axis=0)
                    held = (low - 1e-12 <= gap) & (gap <= high + 1e-12)
                    self.differences.setdefault(level, []).extend(held.astype(float).tolist())

    def _anchor(self, calibrator: Calibrator, test: Paired) -> None:
        """The topline is the groups' own mean, each attribute alike, weighted by n within."""
        kept = test.take(test.complete)
        human, index = kept.human, kept.index
        weight, _ = group_weights(index, respondents_by_group(kept))
        total = np.zeros((len(index.questions), index.mask.shape[1]))
        np.add.at(total, index.question_of_row, weight[:, None] * human.probs)
        topline = total[index.question_of_row]
        shares = close(topline, index.mask)
        toplines = _one_row_a_question(index, total)
        prediction = calibrator.predict(kept.elicited, toplines)
        best = {score: act(prediction, "median_cumulative" if score == "w1" else "mean")
                for score in SCORES}  # fmt: skip
        found = {
            name: scores.SCORES[score](human.probs, probs, index)
            for score in SCORES
            for name, probs in ((f"topline_{score}", shares), (f"anchored_{score}", best[score]))
        }
        offset = 1 + max(self.question, default=-1)
        self.question += (index.question_of_row + offset).tolist()
        self.anchored += [
            {name: float(values[row]) for name, values in found.items()}
            for row in range(len(human))
        ]

    def _diagnose(self, calibrator: Any) -> None:
        from calib.diagnostics import diagnose

        found = diagnose(calibrator.posterior_, with_loo=False)
        self.diagnoses.append(
            {"r_hat": found.r_hat_max, "ess": found.ess_bulk_min, "diverging": found.n_divergences}
        )


def _one_row_a_question(index: Index, shares: Float[np.ndarray, "question option"]) -> Opinions:
    n_questions = len(index.questions)
    mask = np.zeros(shares.shape, dtype=bool)
    np.logical_or.at(mask, index.question_of_row, index.mask)
    rows = Index(
        index.questions,
        index.groups[:1],
        np.arange(n_questions),
        np.zeros(n_questions, dtype=int),
        mask,
    )
    return Opinions(rows, close(shares, mask))


def run_study(study: Study, data: Path, tell: Any = click.echo) -> list[dict[str, Any]]:
    """One row for each selection of sources: every calibrator's scores and the comparisons."""
    frame = read_table(data / f"{study.table}.parquet")
    selections = parse_sources(study.sources, settings_of(frame), default_join=False)
    rows = []
    for selection in selections:
        paired = pair(frame, selection)
        fold_of = folds_of_questions(paired.index.question_keys, FOLDS, SEED)
        fold_of_row = np.array([fold_of[key] for key in paired.index.question_keys])[
            paired.index.question_of_row
        ]
        looked = _Looked()
        results = {}
        for name in (*BASELINES, "dirichlet"):
            look = looked if name == "dirichlet" else None
            results[name] = held_out(name, paired, fold_of_row, SEED, look=look)
        row = _row(sources_label(selection), paired.take(paired.complete), results, looked)
        row["table"] = study.table
        rows.append(row)
        tell(f"{row['sources']}: KL {row['scores']['dirichlet']['kl_1e3']:.4f}")
    return rows


def _row(
    label: str, scored: Paired, results: dict[str, HeldOut], looked: _Looked
) -> dict[str, Any]:
    human, question = scored.human, scored.index.question_of_row
    n = np.full(len(human), np.nan) if human.n is None else human.n
    floor = noise_floor(human.probs, n, human.index.places, human.index.mask, SEED)
    summaries = {
        name: summarise(result, human, floor, results["identity"], results["train-mean"])
        for name, result in results.items()
    }
    ours = results["dirichlet"]
    row: dict[str, Any] = {
        "sources": label,
        "n_questions": len(human.index.questions),
        "n_cells": len(human),
        "scores": {
            name: {score: one[score] for score in SCORES} | {"seconds": one["fit_seconds"]}
            for name, one in summaries.items()
        },
        "llm_share": {s: summaries["dirichlet"][f"llm_share_{s}"] for s in SCORES},
        "coverage": {
            f"{level:.0%}": float(np.nanmean(ours.spread[f"coverage_{level:.0%}"[:-1]]))
            for level in LEVELS
        },
        "difference_coverage": {
            f"{level:.0%}": float(np.mean(held)) for level, held in looked.differences.items()
        },
        "diagnoses": looked.diagnoses,
        "against": {},
    }
    for name, result in results.items():
        if name != "dirichlet":
            row["against"][name] = {
                score: paired_ratio(ours.own_act[score], result.own_act[score], question)
                for score in SCORES
            }
    if looked.anchored:
        of_question = np.array(looked.question)
        for score in SCORES:
            alone, anchored = (
                np.array([cell[f"{name}_{score}"] for cell in looked.anchored])
                for name in ("topline", "anchored")
            )
            row.setdefault("anchored", {})[score] = {
                "topline": float(alone.mean()),
                "anchored": float(anchored.mean()),
                **paired_ratio(anchored, alone, of_question),
            }
    return row


def paired_ratio(
    ours: Float[np.ndarray, " row"],
    other: Float[np.ndarray, " row"],
    question: Int[np.ndarray, " row"],
) -> dict[str, float]:
    """Ratio of means, and the difference with its interval over questions."""
    found = clustered_difference(ours - other, question, seed=SEED)
    ratio = float(ours.mean() / other.mean())
    return {"ratio": ratio, "mean": found.mean, "lo": found.low, "hi": found.high}


def _best(row: dict[str, Any], score: str) -> str:
    return min(PUBLISHED, key=lambda name: row["scores"][name][score])


def mark(difference: dict[str, float]) -> str:
    """An asterisk where ours is significantly better, an exclamation mark where worse."""
    return "\\*" if difference["hi"] < 0 else "!" if difference["lo"] > 0 else ""


def report_lines(studies: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """The results as Markdown."""
    yield "# Held-out questions"
    yield ""
    yield (
        "Five folds by question. KL and W1 of `dirichlet`, each under its own act, and their ratio "
        "to the best of `ridge`, `lasso` and `forest`, to `ridge-structured` and to the train mean "
        "of the scale: below 1 is better; \\* significantly better, ! significantly worse (paired "
        "95 % interval, questions resampled)."
    )
    for name, rows in studies.items():
        yield from ("", f"## {name}", "")
        yield (
            "| setting | KL | W1 | KL / best | W1 / best | KL / structured | W1 / structured "
            "| KL / train mean | W1 / train mean | LLM's share of the gap (KL) | cover 90 |"
        )
        yield "|---" * 11 + "|"
        columns: list[list[float]] = []
        for row in rows:
            ours = row["scores"]["dirichlet"]
            found = [
                row["against"][_best(row, score) if other is None else other][score]
                for other in (None, "ridge-structured", "train-mean")
                for score in SCORES
            ]
            columns.append([one["ratio"] for one in found])
            cells = [f"{one['ratio']:.3f}{mark(one)}" for one in found]
            share = row["llm_share"]["kl_1e3"]
            yield (
                f"| {row['sources']} | {ours['kl_1e3']:.4f} | {ours['w1']:.4f} | "
                + " | ".join(cells)
                + f" | {share:.0%} | {row['coverage']['90%']:.3f} |"
            )
        means = np.mean(columns, axis=0)
        yield "| mean | | | " + " | ".join(f"{mean:.3f}" for mean in means) + " | | |"
        yield from _coverage_lines(rows)
        yield from _anchor_lines(rows)


def _coverage_lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    for key, what in (("coverage", "cells"), ("difference_coverage", "differences of two groups")):
        found = [row[key] for row in rows if row[key]]
        if found:
            text = ", ".join(
                f"{level} {np.mean([one[level] for one in found]):.3f} "
                f"({min(one[level] for one in found):.3f} to "
                f"{max(one[level] for one in found):.3f})"
                for level in found[0]
            )
            yield from ("", f"Coverage of intervals, {what}, mean and range over settings: {text}.")


def _anchor_lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    anchored = [row for row in rows if "anchored" in row]
    if not anchored:
        return
    yield from ("", "Anchored on the question's topline, against the topline alone:", "")
    yield "| setting | W1 topline | W1 anchored | ratio | KL topline | KL anchored | ratio |"
    yield "|---" * 7 + "|"
    for row in anchored:
        cells = [
            f"{one['topline']:.4f} | {one['anchored']:.4f} | {one['ratio']:.3f}{mark(one)}"
            for one in (row["anchored"]["w1"], row["anchored"]["kl_1e3"])
        ]
        yield f"| {row['sources']} | " + " | ".join(cells) + " |"


@click.group()
def main() -> None:
    """Held-out scores of real tables."""


@main.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True))
@click.argument("names", nargs=-1, type=click.Choice(list(STUDIES)))
def run(data: Path, names: tuple[str, ...]) -> None:
    """Run studies and keep their figures."""
    folder = RESULTS / "heldout"
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or tuple(STUDIES):
        document = record(SEED) | {"rows": run_study(STUDIES[name], data)}
        text = json.dumps(plain(document), indent=1)
        (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")


@main.command()
def report() -> None:
    """Write the Markdown from the figures kept."""
    found = {
        name: json.loads(path.read_text(encoding="utf-8"))
        for name in STUDIES
        if (path := RESULTS / "heldout" / f"{name}.json").exists()
    }
    lines = report_lines({name: one["rows"] for name, one in found.items()})
    write_markdown(RESULTS / "heldout.md", lines, list(found.values()))


if __name__ == "__main__":
    main()
