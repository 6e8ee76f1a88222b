"""Accuracy beside what a user might take instead, on the folds of the held-out figures.

    python -m benchmarks.peers run DATA [STUDY ...] [--dirichlet]   results/peers.json
    python -m benchmarks.peers report                               results/peers.md

DATA as for ``benchmarks.heldout``, whose figures of ``dirichlet`` and of the shipped regressions
are taken from results/heldout/STUDY.json: ``identity`` and ``train-mean`` are fitted again and
must score as there, or the table or the folds were others. ``--dirichlet`` fits that again too
(hours), which gives each ratio its paired interval.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

from benchmarks.heldout import FOLDS, RESULTS, SCORES, SEED, STUDIES, mark, paired_ratio
from benchmarks.peer_calibrators import PEERS
from benchmarks.record import record, write_markdown
from calib.errors import CalibError
from calib.evaluate import folds_of_questions
from calib.heldout import HeldOut, held_out
from calib.paired import Paired, pair, settings_of
from calib.sources import parse_sources, sources_label
from calib.summary import plain
from calib.table import read_table

TABLES: Final = ("opinionqa", "synthbench", "nytimes")
"""Studies of single settings."""
CHECKED: Final = ("identity", "train-mean")
SHIPPED: Final = ("temperature", "simplex")
"""Peers that are in the registry, and not in the held-out figures."""
FROM_HELDOUT: Final = ("identity", "train-mean", "ridge", "lasso", "forest", "ridge-structured")
CLOSE: Final = 1e-6
"""Relative difference of a score that was made again."""
OURS: Final = ("identity", "train-mean", "ridge-structured")
"""In the table for what they say; the first two are yardsticks and the last is this package's."""


def peer_names() -> tuple[str, ...]:
    """What a user might take instead: what is set against ``dirichlet``."""
    return ("ridge", "lasso", "forest", *SHIPPED, *PEERS)


def run_table(
    name: str, data: Path, former: Mapping[str, Any], *, dirichlet: bool, tell: Any = click.echo
) -> list[dict[str, Any]]:
    """One row a setting: scores of every peer, and of what the held-out figures hold."""
    study = STUDIES[name]
    frame = read_table(data / f"{study.table}.parquet")
    rows = []
    for selection in parse_sources(study.sources, settings_of(frame), default_join=False):
        label = sources_label(selection)
        known = {row["sources"]: row["scores"] for row in former["rows"]}
        if label not in known:
            raise CalibError(
                f"peers stand beside the held-out figures of the same setting; {name} has none "
                f"of {label}; run benchmarks.heldout first"
            )
        row = run_setting(pair(frame, selection), known[label], dirichlet=dirichlet)
        rows.append({"sources": label, **row})
        best = best_peer(rows[-1], "kl_1e3")
        tell(f"{label}: best peer {best}, KL {rows[-1]['scores'][best]['kl_1e3']:.4f}", err=True)
    return rows


def run_setting(
    paired: Paired, former: Mapping[str, Mapping[str, float]], *, dirichlet: bool
) -> dict[str, Any]:
    """Peers on one setting; ``CalibError`` where a known figure does not come out again."""
    fold_of = folds_of_questions(paired.index.question_keys, FOLDS, SEED)
    fold_of_row = np.array([fold_of[key] for key in paired.index.question_keys])[
        paired.index.question_of_row
    ]

    def run(name: str) -> HeldOut:
        return held_out(name, paired, fold_of_row, SEED, make=PEERS.get(name))

    results = {name: run(name) for name in CHECKED}
    for name, result in results.items():
        for score in SCORES:
            again, known = float(result.own_act[score].mean()), former[name][score]
            if not np.isclose(again, known, rtol=CLOSE):
                raise CalibError(
                    f"{name} must score on these folds as in the held-out figures; its {score} is "
                    f"{again:.6g} and not {known:.6g}; run benchmarks.heldout again"
                )
    results |= {name: run(name) for name in (*SHIPPED, *PEERS)}
    kept = {name: dict(former[name]) for name in (*FROM_HELDOUT, "dirichlet")}
    row: dict[str, Any] = {
        "scores": kept | {name: _scores(results[name]) for name in (*SHIPPED, *PEERS)},
        "counts": {name: results[name].counts for name in PEERS},
    }
    if dirichlet:
        ours = run("dirichlet")
        row["scores"]["dirichlet"] = _scores(ours)
        results |= {name: run(name) for name in ("ridge", "lasso", "forest")}
        question = paired.take(paired.complete).index.question_of_row
        row["against"] = {
            name: {
                score: paired_ratio(ours.own_act[score], results[name].own_act[score], question)
                for score in SCORES
            }
            for name in peer_names()
        }
    return row


def _scores(result: HeldOut) -> dict[str, float]:
    means = {score: float(result.own_act[score].mean()) for score in SCORES}
    return means | {"seconds": result.fit_seconds}


def best_peer(row: Mapping[str, Any], score: str) -> str:
    """The peer with the least score, chosen after the fact: the hardest there is to beat."""
    return min(peer_names(), key=lambda name: float(row["scores"][name][score]))


def report_lines(tables: Mapping[str, list[dict[str, Any]]]) -> Iterator[str]:
    """The results as Markdown."""
    yield "# Beside the peers"
    yield ""
    yield (
        "Five folds by question, those of the held-out figures (`heldout.md`). KL and W1, lower is "
        "better; the least of a row is bold. Last, the ratio of `dirichlet` to the best peer, "
        "which is chosen for each row and score after the fact: below 1 is better; \\* "
        "significantly better, ! significantly worse (paired 95 % interval, questions resampled), "
        "no mark where the interval was not computed. `identity` (the raw answer) and "
        "`train-mean` (no LLM) are yardsticks, `ridge-structured` is this package's own."
    )
    yield ""
    yield (
        "`ppi-rectifier`: prediction-powered correction proper needs answers to the very question, "
        "of which a held-out question has none; here the correction is that of the training "
        "questions. `similarity` takes the error of the nearest training questions by words "
        "(TF-IDF); sentence embeddings were not tried. `dirichlet-map` is the calibration map of "
        "Kull et al., one a number of ordered options. What each is in full stands in "
        "`benchmarks/peer_calibrators.py`."
    )
    names = (*OURS, *peer_names(), "dirichlet")
    for score, title in (("kl_1e3", "KL"), ("w1", "W1")):
        for table, rows in tables.items():
            yield from ("", f"## {title}, {table}", "")
            yield "| setting | " + " | ".join(names) + " | best peer | ratio |"
            yield "|---" * (len(names) + 3) + "|"
            ratios = []
            for row in rows:
                found = {name: float(row["scores"][name][score]) for name in names}
                least, best = min(found.values()), best_peer(row, score)
                ratios.append(found["dirichlet"] / found[best])
                cells = [f"**{v:.4f}**" if v == least else f"{v:.4f}" for v in found.values()]
                told = mark(row["against"][best][score]) if "against" in row else ""
                yield (
                    f"| {row['sources']} | "
                    + " | ".join(cells)
                    + f" | {best} | {ratios[-1]:.3f}{told} |"
                )
            means = [np.mean([row["scores"][name][score] for row in rows]) for name in names]
            yield (
                "| mean | "
                + " | ".join(f"{mean:.4f}" for mean in means)
                + f" | | {np.mean(ratios):.3f} |"
            )


@click.group()
def main() -> None:
    """Accuracy beside the peers."""


@main.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True))
@click.argument("names", nargs=-1, type=click.Choice(TABLES))
@click.option("--dirichlet", is_flag=True, help="Fit dirichlet again too, for paired intervals.")
def run(data: Path, names: tuple[str, ...], dirichlet: bool) -> None:
    """Run the peers and keep their figures; tables that are not named keep theirs."""
    path = RESULTS / "peers.json"
    for name in names or TABLES:
        former = json.loads((RESULTS / "heldout" / f"{name}.json").read_text(encoding="utf-8"))
        found = record(SEED) | {
            "dirichlet_from": "this run" if dirichlet else f"heldout, {former['commit']}",
            "rows": run_table(name, data, former, dirichlet=dirichlet),
        }
        # Read only now: another table may have come in meanwhile.
        kept = json.loads(path.read_text(encoding="utf-8"))["tables"] if path.exists() else {}
        kept[name] = found
        document = {"tables": {one: kept[one] for one in TABLES if one in kept}}
        path.write_text(json.dumps(plain(document), indent=1) + "\n", encoding="utf-8")


@main.command()
def report() -> None:
    """Write the Markdown from the figures kept."""
    found = json.loads((RESULTS / "peers.json").read_text(encoding="utf-8"))["tables"]
    lines = report_lines({name: one["rows"] for name, one in found.items()})
    write_markdown(RESULTS / "peers.md", lines, list(found.values()))


if __name__ == "__main__":
    main()
