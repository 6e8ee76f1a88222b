"""What decisions lose on a real table: raw, persona-prompted and calibrated, by group.

    python -m benchmarks.decisions run DATA       results/decisions.json
    python -m benchmarks.decisions report         results/decisions.md from it

DATA is a folder with opinionqa_dev as a Parquet table. Five folds by question, the same for
every calibrator; decisions on the groups and questions that all settings have.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from benchmarks.record import record, write_markdown
from calib.decisions import DECISIONS, decision_regrets
from calib.evaluate import evaluate, write_evaluation
from calib.paired import settings_of
from calib.sources import parse_sources
from calib.summary import plain
from calib.table import read_table

SEED: Final = 0
TABLE: Final = "opinionqa_dev"
RESULTS: Final = Path(__file__).parent / "results"
SOURCES: Final = "model=gpt-4|anthropic_opus,elicitation=verbalized,prompt=base|sd"
CALIBRATORS: Final = "train-mean,ridge,ridge-structured,dirichlet"
LOST: Final = {
    "mode": "which option most of a group choose: share of the true first choice less that of "
    "the one taken",
    "side": "which side of the scale's middle more of a group are on: the margin, where wrong",
    "target": "which group of an attribute stands highest: how far below it the one taken lies, "
    "of the scale's length",
}


def report_lines(document: dict[str, Any]) -> Iterator[str]:
    """The results as Markdown."""
    yield "# What decisions lose"
    yield ""
    yield (
        f"{document['table']}, five folds by question. Regret of decisions on held-out "
        "predictions, paid in people's own shares: 0 is the decision on people's own answers, "
        "lower is better. `identity` is the raw LLM, asked without a persona (`base`) or as a "
        "member of the group (`sd`); `fresh sample` is what as many other people would lose. "
        "\\* loses significantly less than the raw LLM of its prompt, ! significantly more (paired "
        "95 % interval, questions resampled)."
    )
    for decision, found in document["decisions"].items():
        rows = found["rows"]
        by_group = {(one["attribute"], one["group"]): None for one in rows}
        finest = [key for key in by_group if key[1] or (key[0] and decision == "target")]
        columns = [("", ""), *finest]
        yield from ("", f"## {decision}", "")
        yield f"{LOST[decision]}."[:1].upper() + f"{LOST[decision]}."[1:]
        yield ""
        names = ["all", *(group or attribute for attribute, group in finest)]
        yield "| setting | calibrator | as people decide | " + " | ".join(names) + " |"
        yield "|---" * (3 + len(names)) + "|"
        pairs = dict.fromkeys((one["sources"], one["calibrator"]) for one in rows)
        for who in sorted(pairs, key=lambda pair: pair[0]):
            own = {
                (one["attribute"], one["group"]): one
                for one in rows
                if (one["sources"], one["calibrator"]) == who
            }
            cells = [f"{own[key]['regret']:.3f}{_mark(own[key])}" for key in columns]
            yield (
                f"| {who[0]} | {who[1]} | {own['', '']['agree']:.0%} | " + " | ".join(cells) + " |"
            )
        first = next(one for one in rows if not one["attribute"])
        counts = ", ".join(
            f"{name.replace('_', ' ')} {count}" for name, count in found["counts"].items() if count
        )
        yield ""
        yield (
            f"{first['n_decisions']} decisions on {first['n_questions']} questions"
            + (f"; {counts}." if counts else ".")
        )


def _mark(row: dict[str, Any]) -> str:
    if row["saved_lo"] is None or row["calibrator"] == "fresh sample":
        return ""
    return "\\*" if row["saved_lo"] > 0 else "!" if row["saved_hi"] < 0 else ""


@click.group()
def main() -> None:
    """Regret of decisions on real tables."""


@main.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True))
@click.option("--sources", default=SOURCES, show_default=True)
@click.option("--calibrators", default=CALIBRATORS, show_default=True)
@click.option(
    "--evaluation", type=click.Path(path_type=Path, exists=True),
    help="What calib evaluate left of the table, seed 0, instead of evaluating now.",
)  # fmt: skip
def run(data: Path, sources: str, calibrators: str, evaluation: Path | None) -> None:
    """Evaluate, decide, and keep the figures."""
    document: dict[str, Any] = record(SEED) | {"table": TABLE, "decisions": {}}
    with tempfile.TemporaryDirectory() as scratch:
        folder = evaluation or Path(scratch) / "evaluation"
        if evaluation is None:
            frame = read_table(data / f"{TABLE}.parquet")
            found = evaluate(
                frame,
                selections=parse_sources(sources, settings_of(frame), default_join=False),
                calibrators=calibrators.split(","),
                seed=SEED,
                table_name=TABLE,
                progress=lambda what, done, of: click.echo(f"{what} {done}/{of}"),
            )
            write_evaluation(found, folder)
        for decision in DECISIONS:
            rows, counts = decision_regrets(folder, decision, seed=SEED)
            kept = [one._asdict() for one in rows if one.calibrator != "uniform"]
            document["decisions"][decision] = {"rows": kept, "counts": counts}
    text = json.dumps(plain(document))
    (RESULTS / "decisions.json").write_text(text + "\n", encoding="utf-8")


@main.command()
def report() -> None:
    """Write the Markdown from the figures kept."""
    document = json.loads((RESULTS / "decisions.json").read_text(encoding="utf-8"))
    write_markdown(RESULTS / "decisions.md", report_lines(document), [document])


if __name__ == "__main__":
    main()
