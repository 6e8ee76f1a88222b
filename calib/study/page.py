"""A study's page: what calibration gained and what not, for people who were not there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from calib.disclosure import DISCLOSURE, MEANINGS, benchmark_status
from calib.errors import DataError, Fault
from calib.evaluate import ALWAYS, NO_LLM
from calib.files import atomic_file
from calib.report import environment, show
from calib.study.figures import (
    Figure,
    before_and_after,
    data_uri,
    learning_curve,
    setting_name,
)
from calib.study.markdown import markdown
from calib.study.speccurve import specification_curve
from calib.study.store import SUMMARY

SPLITS: Final[Mapping[str, str]] = {
    "question": "questions held out",
    "survey": "a whole survey held out",
    "group": "a group held out, on questions held out as well",
    "model": "learnt from one model, predicted from another's answers, on questions held out",
    "elicitation": "learnt from one elicitation, predicted from another's answers, on questions "
    "held out",
    "date": "later questions held out",
}
SCORES: Final[tuple[tuple[str, str, str], ...]] = (
    ("oa", "OA ↑", ".2f"),
    ("w1", "W1 ↓", ".4f"),
    ("kl_1e3", "KL ↓", ".4f"),
    ("tv", "TV ↓", ".4f"),
    ("mse", "MSE ↓", ".5f"),
)
"""Key in summary.json, heading, format."""
COMPARED: Final = (("w1", "W1"), ("kl_1e3", "KL"))
"""Scores that the sentences of a page count better and worse settings in."""
SHAPES: Final[tuple[tuple[str, str, str], ...]] = (
    ("peak_ratio", "Largest share", ".3f"),
    ("entropy_ratio", "Entropy", ".3f"),
    ("group_gap_ratio", "Group differences", ".3f"),
    ("neighbour_correlation", "Correlation of neighbours' errors", ".3f"),
)
"""Key in the ``shape`` of a row, heading, format."""
SUFFIXES: Final = (".html", ".htm", ".md")


@dataclass(frozen=True)
class Section:
    """One table and split."""

    table: str
    split: str
    findings: Sequence[str]
    over: Sequence[Mapping[str, Any]]
    """Over all settings."""
    over_parts: Sequence[Mapping[str, Any]]
    """Over several settings of one model, elicitation or prompt, by what asks an LLM."""
    figures: Sequence[Figure]
    rows: Sequence[Mapping[str, Any]]
    notes: Sequence[tuple[str, str, str, str]]
    """Setting, calibrator, what happened, how often."""
    contrasts: Sequence[Mapping[str, Any]]
    """One way of asking an LLM against another, at the largest training size."""
    shapes: Sequence[tuple[str, Mapping[str, float]]]
    """Calibrator and the means over settings of its shape, at the largest training size."""

    @property
    def what(self) -> str:
        """What the split holds out."""
        return SPLITS[self.split]


def write_page(folder: Path, out: Path) -> None:
    """Write a finished study as one HTML or Markdown file, as the suffix of ``out`` tells.

    Raises
    ------
    DataError
        Where the study is not finished or its summary is damaged, or the suffix is another.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise DataError(
            Fault(
                rule="a study's page is " + ", ".join(SUFFIXES),
                value=repr(out.suffix),
                remedy="name the output so",
            ),
            file=out,
        )
    summary = _read(folder / SUMMARY)
    sections = list(_sections(summary))
    status = benchmark_status(summary["rows"])
    disclosure = (*DISCLOSURE, status, MEANINGS[status])
    if out.suffix.lower() == ".md":
        text = "\n".join(markdown(summary, sections, disclosure, SCORES)) + "\n"
    else:
        page = environment().get_template("study.html.j2")
        text = page.render(
            summary=summary,
            sections=sections,
            disclosure=disclosure,
            scores=SCORES,
            shapes=SHAPES,
            setting_name=setting_name,
            all_rows=data_uri([_flat(row) for row in summary["rows"]]),
        )
    with atomic_file(out) as draft:
        draft.write_text(text, encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(summary, dict) or not summary["rows"] or not summary["over_settings"]:
            raise ValueError("no rows")
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            Fault(
                rule=f"a finished study has a readable {SUMMARY}",
                value=" ".join(str(error).split())[:200],
                remedy="finish the study with calib study resume",
            ),
            file=path,
        ) from None
    return summary


def _sections(summary: Mapping[str, Any]) -> Iterator[Section]:
    rows = summary["rows"]
    for table, split in dict.fromkeys((row["table"], row["split"]) for row in rows):
        own = [row for row in rows if (row["table"], row["split"]) == (table, split)]
        over = [
            one
            for one in summary["over_settings"]
            if (one["table"], one["split"]) == (table, split)
        ]
        every = [one for one in over if one["over"] == "all"]
        yield Section(
            table,
            split,
            list(_findings(every)),
            every,
            [
                one
                for one in over
                if one["over"] != "all"
                and one["settings"] + one["settings_failed"] > 1
                and one["calibrator"] not in NO_LLM
            ],
            list(_figures(own, f"{Path(table).stem}-{split}")),
            own,
            list(_notes(own)),
            [
                one
                for one in summary.get("contrasts", [])
                if (one["table"], one["split"], one["size"]) == (table, split, _largest(own))
                and one["calibrator"] not in NO_LLM
            ],
            list(_shapes(own)),
        )


def _figures(rows: Sequence[Mapping[str, Any]], name: str) -> Iterator[Figure]:
    last = [row for row in rows if row["size"] == _largest(rows)]
    found = [before_and_after(last, score, name) for score in ("oa", "kl_1e3")]
    found += [learning_curve(rows, score, name) for score in ("oa", "mse")]
    found.append(specification_curve(rows, name))
    return (figure for figure in found if figure is not None)


def _shapes(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, dict[str, float]]]:
    """Means over the settings that have the figure; left out where none has any.

    Differences between groups are those of settings whose raw answers differ by group: a base
    prompt tells of no group.
    """
    last = [row for row in rows if row["size"] == _largest(rows)]
    by_group = {
        setting_name(row)
        for row in last
        if row["calibrator"] == "identity" and (row.get("shape") or {}).get("group_gap_ratio")
    }
    for calibrator in dict.fromkeys(str(row["calibrator"]) for row in last):
        own = [
            (row.get("shape") or {})
            | ({} if setting_name(row) in by_group else {"group_gap_ratio": None})
            for row in last
            if row["calibrator"] == calibrator
        ]
        known = {
            name: [one[name] for one in own if one.get(name) is not None] for name, _, _ in SHAPES
        }
        if any(known.values()):
            yield (
                calibrator,
                {
                    name: sum(values) / len(values) if values else float("nan")
                    for name, values in known.items()
                },
            )


def _findings(every: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A sentence for each calibrator proper, at the largest training size."""
    for one in every:
        if one["size"] != _largest(every) or one["calibrator"] in ALWAYS:
            continue
        if not one["settings"]:
            yield f"{one['calibrator']}: a part failed in every setting, so there is no figure."
            continue
        before, after = one["before"], one["after"]
        parts = []
        worse = 0
        for reference, words in (("identity", "the raw LLM"), ("train-mean", "the train mean")):
            found = [(name, one["against"][reference][score]) for score, name in COMPARED]
            better = " and ".join(f"{against['better']} on {name}" for name, against in found)
            lost = [f"{against['worse']} on {name}" for name, against in found if against["worse"]]
            worse += len(lost)
            parts.append(
                f"better than {words} in {better}"
                + (f" (worse in {' and '.join(lost)})" if lost else "")
            )
        n = one["settings"]
        yield (
            f"{one['calibrator']}: OA {_mean_sd(before['oa'], '.2f')} before and "
            f"{_mean_sd(after['oa'], '.2f')} after, KL {_mean_sd(before['kl_1e3'], '.4f')} and "
            f"{_mean_sd(after['kl_1e3'], '.4f')}; of {n} {'setting' if n == 1 else 'settings'} "
            f"clearly {', and '.join(parts)}{'' if worse else '; in none clearly worse'}."
        )


def _largest(rows: Sequence[Mapping[str, Any]]) -> str:
    """The largest training size among the rows."""
    sizes = {str(row["size"]) for row in rows}
    return "all" if "all" in sizes else max(sizes, key=int)


def _mean_sd(value: Mapping[str, Any], style: str) -> str:
    mean = show(value["mean"], style)
    return mean if value["sd"] is None else f"{mean} (sd {show(value['sd'], style)})"


def _notes(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, str, str]]:
    for row in rows:
        place = f"{setting_name(row)}, {row['size']} training questions"
        counts = {name.replace("_", " "): count for name, count in row["counts"].items() if count}
        counts |= {
            "parts that failed": row["parts_failed"],
            "parts whose fit is not to be trusted": row["parts_untrusted"],
        }
        for name, count in counts.items():
            if count:
                yield place, str(row["calibrator"]), name, str(count)


def _flat(row: Mapping[str, Any]) -> dict[str, object]:
    """A row of the summary as one line of a table."""
    names = ("table", "sources", "target", "split", "size", "calibrator", "training_questions",
             "parts", "parts_failed", "n_questions", "n_cells")  # fmt: skip
    flat: dict[str, object] = {name: row[name] for name in names}
    for score, _, _ in SCORES:
        for end in ("mean", "lo", "hi"):
            flat[f"{score}_{end}"] = None if row[score] is None else row[score][end]
            for reference in ("identity", "train-mean"):
                found = row.get("minus", {}).get(reference, {}).get(score)
                if score != "oa":
                    flat[f"{score}_minus_{reference}_{end}"] = None if found is None else found[end]
    return flat
