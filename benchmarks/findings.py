"""What holds of the reference papers' findings on real tables, told by stated rules.

    python -m benchmarks.findings STUDY_FOLDER …      results/findings.md

STUDY_FOLDER is what ``calib study run`` left of a study in benchmarks/studies: main, and any
of data-efficiency, meister, per-group, joint, few-shot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import isnan
from pathlib import Path
from typing import Final

import click

from benchmarks.claims import (
    K,
    efficiency_claims,
    fewshot_claims,
    main_claims,
    meister_claims,
    versus_claims,
)
from benchmarks.outcomes import Estimate, Outcome, read_outcome
from benchmarks.record import record, write_markdown
from benchmarks.verdicts import RULES, Claim
from calib.study.markdown import escaped

RESULTS: Final = Path(__file__).parent / "results"
SEED: Final = 0
CLAIMS: Final[dict[str, Callable[[Outcome, str], Iterator[Claim]]]] = {
    "main": main_claims,
    "meister": meister_claims,
    "data-efficiency": efficiency_claims,
    "per-group": versus_claims,
    "joint": versus_claims,
    "few-shot": fewshot_claims,
}
"""By the study's name."""
UNTESTED: Final = (
    Claim(
        "after calibration the post-training stages of one model family converge", K, "not known",
        "none", "no table has several stages of one family", None, "none", "cannot be told",
    ),
)  # fmt: skip
"""Claims that no study here can test."""


def claims_of(outcomes: Iterable[Outcome]) -> list[Claim]:
    """All claims that these studies test, and those that none can."""
    found: list[Claim] = []
    for outcome in outcomes:
        for table in outcome.tables:
            found += CLAIMS[outcome.name](outcome, table)
    return [*dict.fromkeys(found), *UNTESTED]


def report_lines(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """The page as Markdown."""
    claims = claims_of(outcomes)
    counts = {
        verdict: sum(one.verdict == verdict for one in claims)
        for verdict in ("holds", "does not hold", "cannot be told")
    }
    yield "# What holds of the papers' findings"
    yield ""
    yield (
        "**These are model-based estimates, not respondents.** Each row is a claim of Kambhatla "
        "et al. (arXiv 2507.00439) or Meister et al. (arXiv 2411.05403), or a question that they "
        "leave open, and what was measured of it on held-out questions of the development "
        "tables. Intervals are of 95 %, questions resampled in pairs; the settings are taken as "
        "they are. A verdict follows from the rule in its row alone. The published calibrator "
        "shown is the best of those run, chosen on the same questions. The papers' models and "
        "questions are others than these, so their figures are a scale and no target."
    )
    yield from ("", ", ".join(f"{count} {verdict}" for verdict, count in counts.items()) + ".", "")
    yield "| claim | of | its figure | table | measured here | ours | rule | verdict | note |"
    yield "|---" * 9 + "|"
    for one in claims:
        cells = (one.claim, one.source, one.paper or "–", one.table, one.measured,
                 _shown(one.ours), one.rule, one.verdict, one.note or "–")  # fmt: skip
        yield "| " + " | ".join(map(escaped, cells)) + " |"
    yield from ("", "Rules; in all other cases it cannot be told:", "")
    yield from (f"- {escaped(name)}: {escaped(text)}." for name, text in RULES.items())
    absent = [name for name in CLAIMS if name not in {one.name for one in outcomes}]
    if absent:
        yield from ("", f"Not given, so their claims are not told: {', '.join(absent)}.")
    for outcome in outcomes:
        yield from _of_study(outcome)


def _of_study(outcome: Outcome) -> Iterator[str]:
    summary = outcome.summary
    left = "; ".join(
        f"{name}: {counts['cells_left_out']} of {counts['cells']} cells left out, that not every "
        "setting answered"
        for name, counts in summary.get("left_out", {}).items()
    )
    versions = ", ".join(f"{key} {one}" for key, one in summary["versions"][-1].items() if one)
    yield from (
        "",
        f"Study {escaped(outcome.name)}: {summary['done']} of {summary['cells']} cells, "
        f"{len(summary['failed'])} failed, seeds {summary['plan']['seeds']}; {escaped(left)}"
        f"{'; ' if left else ''}{escaped(versions)}.",
    )


def _shown(ours: Estimate | None) -> str:
    """A figure with its interval; three digits that matter.

    >>> _shown(Estimate(1.23456, -0.5, float("nan")))
    '1.23, no interval'
    """
    if ours is None or isnan(ours.mean):
        return "–"
    if isnan(ours.lo) or isnan(ours.hi):
        return f"{ours.mean:.3g}, no interval"
    return f"{ours.mean:.3g} ({ours.lo:.3g} to {ours.hi:.3g})"


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option(
    "-o", "--output", default=RESULTS / "findings.md", show_default=True,
    type=click.Path(path_type=Path), help="Markdown file to write.",
)  # fmt: skip
def main(folders: tuple[Path, ...], output: Path) -> None:
    """Write the findings page from the folders of finished studies."""
    outcomes = [read_outcome(folder) for folder in folders]
    unknown = [one.name for one in outcomes if one.name not in CLAIMS]
    if unknown:
        raise click.UsageError(
            f"studies are named {', '.join(CLAIMS)}; found {', '.join(unknown)}; run those of "
            "benchmarks/studies"
        )
    write_markdown(output, report_lines(outcomes), [record(SEED)])


if __name__ == "__main__":
    main()
