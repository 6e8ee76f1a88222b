"""Results as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isnan
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from calib.decisions import Regret
    from calib.diagnostics import Diagnosis


class _Column(NamedTuple):
    title: str
    key: str
    form: str
    best: str = ""
    """'high' or 'low' is better; '' marks nothing."""


EVALUATION: Final = (
    _Column("OA", "oa", ".2f", "high"),
    _Column("W1", "w1", ".4f", "low"),
    _Column("KL", "kl_1e3", ".4f", "low"),
    _Column("TV", "tv", ".4f", "low"),
    _Column("cover 90", "coverage_90", ".3f"),
    _Column("gap closed", "gap_closed_kl_1e3", ".0%", "high"),
    _Column("beyond train mean", "llm_share_kl_1e3", ".0%", "high"),
    _Column("fit s", "fit_seconds", ".1f"),
)
SCORED: Final = (
    _Column("OA", "oa", ".2f", "high"),
    _Column("W1", "w1", ".4f", "low"),
    _Column("KL", "kl_1e3", ".4f", "low"),
    _Column("TV", "tv", ".4f", "low"),
    _Column("cover", "coverage_interval", ".3f"),
    _Column("gap closed", "gap_closed_kl_1e3", ".0%", "high"),
)
UNDEFINED: Final = "–"


def console() -> Console:
    """Standard output; wide enough for every column where it is no terminal."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=120)


def show_evaluation(document: Mapping[str, Any], out: Console) -> None:
    """``Evaluation.as_dict`` as a block per selection: scores, differences, notes."""
    for sources in dict.fromkeys(row["sources"] for row in document["rows"]):
        rows = [row for row in document["rows"] if row["sources"] == sources]
        first, last = rows[0], rows[-1]
        out.print()
        out.print(
            _table(
                f"{sources}: {first['n_questions']} questions, {first['n_cells']} cells, "
                f"{document['folds']} folds by question",
                rows,
                EVALUATION,
            )
        )
        _print(
            out,
            f"noise floor: W1 {_form(first['floor_w1'], '.4f')}, "
            f"KL {_form(first['floor_kl_1e3'], '.4f')}, TV {_form(first['floor_tv'], '.4f')}; "
            "gap closed: from the raw LLM to the floor, in KL; "
            "beyond train mean: from the train mean to the floor, in KL",
        )
        acts = ", ".join(f"{act} for {score}" for score, act in last["acts"].items())
        _print(out, f"acts of {last['calibrator']}: {acts}")
        _print(
            out,
            f"cells that people but no source answered, not scored: "
            f"{first['n_cells_unanswered']}; nominal cells, where W1 is TV: "
            f"{first['w1_is_tv_cells']}",
        )
        noted = {key: count for key, count in document["counts"][sources].items() if count}
        _print(out, "pairing: " + _counts(noted))
        for row in rows:
            if row["trusted"] is False:
                out.print(
                    f"[bold red]not trusted:[/] {escape(row['calibrator'])}: "
                    + escape("; ".join(row["problems"]))
                )
        out.print(_differences(document["differences"], sources, last["calibrator"]))


def _differences(rows: Iterable[Mapping[str, Any]], sources: str, a: str) -> Table:
    table = Table(
        title=f"{escape(a)} minus the others, 95 % bootstrap interval over questions "
        "(below zero: better)",
        title_justify="left",
    )
    scores = {"w1": "W1", "kl_1e3": "KL", "tv": "TV"}
    table.add_column("against")
    for title in scores.values():
        table.add_column(title, justify="right")
    mine = [row for row in rows if row["sources"] == sources and row["a"] == a]
    for b in dict.fromkeys(row["b"] for row in mine):
        cells = []
        for score in scores:
            row = next(one for one in mine if one["b"] == b and one["score"] == score)
            text = escape(f"{row['mean']:+.4f} [{row['lo']:+.4f}, {row['hi']:+.4f}]")
            cells.append(f"[bold]{text}[/]" if row["hi"] < 0 else text)
        table.add_row(escape(b), *cells)
    return table


def show_scores(document: Mapping[str, Any], out: Console) -> None:
    """The document of ``score_predictions`` as a table with its counts."""
    first = document["rows"][0]
    title = f"{first['n_questions']} questions, {first['n_cells']} cells"
    if document["act"] is not None:
        title += f"; calibrated: the {document['act'].replace('_', ' ')}"
    out.print(_table(title, document["rows"], SCORED))
    _print(out, _counts(document["counts"]))


def show_diagnosis(title: str, diagnosis: Diagnosis, out: Console) -> None:
    """What the verdict hangs on, each figure beside its limit; of an approximation, its name."""
    from calib.diagnostics import MAX_R_HAT, MIN_BFMI, MIN_ESS

    table = Table(title=escape(f"{title}, fitted by {diagnosis.inference}"), title_justify="left")
    for column in ("of all parameters", "worst", "limit"):
        table.add_column(column, justify="left" if column.startswith("of") else "right")
    if diagnosis.inference == "nuts":
        ess = f"at least {MIN_ESS:.0f}"
        table.add_row("R-hat", f"{diagnosis.r_hat_max:.3f}", f"at most {MAX_R_HAT}")
        table.add_row("effective draws, bulk", f"{diagnosis.ess_bulk_min:.0f}", ess)
        table.add_row("effective draws, tail", f"{diagnosis.ess_tail_min:.0f}", ess)
        table.add_row("divergent transitions", str(diagnosis.n_divergences), "none")
        table.add_row("BFMI of a chain", f"{diagnosis.bfmi_min:.2f}", f"at least {MIN_BFMI}")
        out.print(table)
        _print(out, f"{diagnosis.n_chains} chains of {diagnosis.n_draws} draws")
        if diagnosis.n_divergences_given_up:
            _print(
                out,
                f"sampled again with smaller steps, after {diagnosis.n_divergences_given_up} "
                "divergent transitions of earlier attempts",
            )
        slowest = sorted(diagnosis.parameters, key=lambda one: float(one["ess_bulk"]))[:3]
        told = (f"{one['name']} ({one['ess_bulk']:.0f} effective draws)" for one in slowest)
        _print(out, "slowest to mix: " + ", ".join(told))
    loo = diagnosis.loo
    if loo is not None:
        _print(
            out,
            f"rows left out one at a time, in-sample, no figure for new questions: log score "
            f"{loo['elpd']:.1f} (standard error {loo['se']:.1f}); rows too influential to tell: "
            f"{loo['rows_with_high_pareto_k']} of {loo['rows']}",
        )


def show_regrets(
    decision: str, regrets: Sequence[Regret], counts: Mapping[str, int], out: Console
) -> None:
    """For each selection of sources the calibrators' regret, and their worst group's."""
    for sources in dict.fromkeys(one.sources for one in regrets):
        table = Table(title=escape(f"{sources}: regret, {decision}"), title_justify="left")
        table.add_column("calibrator")
        for title in ("regret", "95 % interval", "saved against raw", "as people decide"):
            table.add_column(title, justify="right")
        table.add_column("most, of group")
        mine = [one for one in regrets if one.sources == sources]
        for whole in (one for one in mine if not one.attribute):
            parts = [one for one in mine if one.calibrator == whole.calibrator and one.attribute]
            finest = [one for one in parts if one.group] or parts
            worst = max(finest, key=lambda one: one.regret)
            name = f"{worst.attribute}: {worst.group}" if worst.group else worst.attribute
            saved = f"{whole.saved:+.3f} [{whole.saved_lo:+.3f}, {whole.saved_hi:+.3f}]"
            table.add_row(
                escape(whole.calibrator),
                f"{whole.regret:.3f}",
                escape(f"[{whole.lo:.3f}, {whole.hi:.3f}]"),
                "" if whole.calibrator == "identity" or isnan(whole.saved) else escape(saved),
                f"{whole.agree:.0%}",
                escape(f"{name} {worst.regret:.3f}"),
            )
        out.print(table)
        first = next(one for one in mine if not one.attribute)
        _print(out, f"{first.n_decisions} decisions on {first.n_questions} questions")
    _print(out, f"regret: {_LOST[decision]}; 0 is the decision on people's own answers")
    if any(counts.values()):
        _print(out, _counts(counts))


_LOST: Final = {
    "mode": "share of the group that the true first choice has more than the one decided on",
    "side": "on the wrong side of the scale's middle, by how much more of the group are on the "
    "other",
    "target": "how far the group decided on lies below the highest, of the scale's length",
}


def show_pairs(title: str, rows: Mapping[str, object], out: Console) -> None:
    """Names and values as a table."""
    table = Table(title=escape(title), title_justify="left", show_header=False)
    for name, value in rows.items():
        table.add_row(escape(name), escape(str(value)))
    out.print(table)


def _table(title: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[_Column]) -> Table:
    table = Table(title=escape(title), title_justify="left")
    table.add_column("calibrator")
    for column in columns:
        table.add_column(column.title, justify="right")
    best = {column.key: _best(rows, column) for column in columns}
    for row in rows:
        cells = []
        for column in columns:
            text = _form(row[column.key], column.form)
            # Everything that prints like the best is the best.
            cells.append(f"[bold]{text}[/]" if column.best and text == best[column.key] else text)
        table.add_row(escape(row["calibrator"]), *cells)
    return table


def _best(rows: Sequence[Mapping[str, Any]], column: _Column) -> str | None:
    known = [row[column.key] for row in rows if row[column.key] is not None]
    if not column.best or not known:
        return None
    return _form(max(known) if column.best == "high" else min(known), column.form)


def _form(value: float | None, form: str) -> str:
    return UNDEFINED if value is None else format(value, form)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counts.items())


def _print(out: Console, text: str) -> None:
    out.print(text, markup=False, style="dim")
