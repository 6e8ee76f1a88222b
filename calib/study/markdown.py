"""A study's page as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from calib.report import show
from calib.study.figures import setting_name

if TYPE_CHECKING:
    from calib.study.page import Section

Scores = Sequence[tuple[str, str, str]]


def escaped(text: object) -> str:
    r"""A text that Markdown shows as it stands, on one line.

    >>> escaped("<b>a|b</b>")
    '&lt;b&gt;a\\|b&lt;/b&gt;'
    """
    flat = " ".join(str(text).split())
    entities = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]#|~$])", r"\\\1", entities)


def markdown(
    summary: Mapping[str, Any],
    sections: Sequence[Section],
    disclosure: tuple[str, str, str, str],
    scores: Scores,
) -> Iterator[str]:
    """The lines of the page; its tables hold what the HTML page draws."""
    yield f"# {escaped(summary['study'])}"
    if summary["question"]:
        yield from ("", escaped(summary["question"]))
    yield from ("", f"**{disclosure[0]}** {disclosure[1]}")
    yield from ("", f"benchmark\\_status: **{disclosure[2]}** ({disclosure[3]}).")
    yield from (
        f"\nOf {escaped(name)} {counts['cells_left_out']} of {counts['cells']} cells are left "
        "out, that not every setting answered."
        for name, counts in summary.get("left_out", {}).items()
    )
    for section in sections:
        yield from ("", f"## {escaped(section.table)}: {section.what}", "")
        yield from (f"- {escaped(finding)}" for finding in section.findings)
        yield from (
            "",
            "Over settings, mean (standard deviation); identity is the LLM before calibration:",
            "",
        )
        yield from _over(section, scores)
        yield from ("", "Each setting, with 95 % intervals; Δ is the difference from the raw LLM "
                    "and from the train mean, negative where better:", "")  # fmt: skip
        yield from _rows(section, scores)
        if section.contrasts:
            yield from ("", "One way of asking against another on the same cells, a − b "
                        "(negative: a is better) and TV of a over b, less 1:", "")  # fmt: skip
            yield from _contrasts(section)
        if section.shapes:
            yield from ("", "Predicted over human (largest share below 1 and entropy above 1: "
                        "flattened), means over settings:", "")  # fmt: skip
            yield from _shapes(section)
        if section.notes:
            yield from ("", "| setting | calibrator | what | number |", "|---|---|---|---|")
            yield from ("| " + " | ".join(map(escaped, note)) + " |" for note in section.notes)
    if summary["failed"]:
        yield from ("", "## Cells that failed", "")
        yield from (
            f"- {escaped(setting_name(one))}, {escaped(one['calibrator'])}, "
            f"{escaped(one['part'])}: {escaped(one['error']['type'])}: "
            f"{escaped(one['error']['message'])}"
            for one in summary["failed"]
        )
    versions = "; ".join(
        ", ".join(f"{name} {value}" for name, value in one.items() if value)
        for one in summary["versions"]
    )
    plan = summary["plan"]
    yield from (
        "",
        f"{summary['done']} of {summary['cells']} cells; {plan['folds']} folds, seeds "
        f"{', '.join(map(str, plan['seeds']))}; {escaped(versions)}.",
    )


def _over(section: Section, scores: Scores) -> Iterator[str]:
    yield (
        "| calibrator | training | over | settings | "
        + " | ".join(heading for _, heading, _ in scores)
        + " |"
    )
    yield "|---" * (4 + len(scores)) + "|"
    for one in (*section.over, *section.over_parts):
        cells = [_moments(one["after"][score], style) for score, _, style in scores]
        failed = f" ({one['settings_failed']} failed)" if one["settings_failed"] else ""
        yield (
            f"| {escaped(one['calibrator'])} | {one['size']} | {escaped(one['over'])} "
            f"| {one['settings']}{failed} | " + " | ".join(cells) + " |"
        )


def _rows(section: Section, scores: Scores) -> Iterator[str]:
    yield (
        "| setting | calibrator | training | questions | "
        + " | ".join(heading for _, heading, _ in scores)
        + " | Δ KL raw | Δ KL train mean |"
    )
    yield "|---" * (6 + len(scores)) + "|"
    for row in section.rows:
        cells = [_interval(row[score], style) for score, _, style in scores]
        cells += [
            _interval(row.get("minus", {}).get(reference, {}).get("kl_1e3"), "+.4f")
            for reference in ("identity", "train-mean")
        ]
        yield (
            f"| {escaped(setting_name(row))} | {escaped(row['calibrator'])} | {row['size']} "
            f"| {row['n_questions'] or '–'} | " + " | ".join(cells) + " |"
        )


def _contrasts(section: Section) -> Iterator[str]:
    yield "| calibrator | a | b | over | pairs | Δ W1 | Δ KL | Δ TV | TV ratio − 1 |"
    yield "|---" * 9 + "|"
    for one in section.contrasts:
        cells = [_interval(one["minus"][score], "+.4f") for score in ("w1", "kl_1e3", "tv")]
        names = (one["calibrator"], one["a"], one["b"], one["over"], one["pairs"])
        cells = [*map(escaped, names), *cells, _interval(one["ratio"]["tv"], "%")]
        yield "| " + " | ".join(cells) + " |"


def _shapes(section: Section) -> Iterator[str]:
    names = ("peak_ratio", "entropy_ratio", "group_gap_ratio", "neighbour_correlation")
    yield "| calibrator | largest share | entropy | group differences | errors of neighbours |"
    yield "|---" * 5 + "|"
    for calibrator, values in section.shapes:
        yield (
            f"| {escaped(calibrator)} | "
            + " | ".join(show(values[name], ".3f") for name in names)
            + " |"
        )


def _moments(value: Mapping[str, Any], style: str) -> str:
    mean = show(value["mean"], style)
    return mean if value["sd"] is None else f"{mean} ({show(value['sd'], style)})"


def _interval(value: Mapping[str, Any] | None, style: str) -> str:
    if value is None:
        return "–"
    low, high = show(value["lo"], style), show(value["hi"], style)
    return f"{show(value['mean'], style)} [{low}, {high}]"
