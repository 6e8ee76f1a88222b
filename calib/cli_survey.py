"""The commands ``calib survey`` and ``calib pair``: the human side of the paired table."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from calib.options import DATA, JSON, print_json


def _names(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = tuple(name.strip() for name in value.split(","))
    if not all(names) or len(set(names)) < len(names):
        raise click.BadParameter("give names, each once, separated by commas")
    return names


@click.command()
@click.argument("source", type=DATA)
@click.option("-o", "--output", required=True, type=DATA, metavar="HUMAN", help="Table to write.")
@click.option(
    "--groups", metavar="NAMES", callback=_names,
    help="Variables that divide the respondents, separated by commas; without it those of the "
    "coding. Everybody together is always a group.",
)  # fmt: skip
@click.option(
    "--items", metavar="NAMES", callback=_names,
    help="Variables that are questions; without it those of the coding, or all others that can be.",
)  # fmt: skip
@click.option(
    "--weight", metavar="NAME", help="Variable that holds the weights; else the coding's."
)
@click.option("--survey", metavar="NAME", help="Name of the survey; else the file's.")
@click.option(
    "--coding", type=DATA, metavar="FILE",
    help="TOML file of wordings, scales, labels, recodes, or the name of a shipped one: wvs7, "
    "wgm2018.",
)  # fmt: skip
@click.option("--strata", metavar="NAME", help="Variable of the strata, for standard errors.")
@click.option("--psu", metavar="NAME", help="Variable of the primary sampling units.")
@click.option("--encoding", metavar="NAME", help="Of the texts in SOURCE, e.g. latin-1.")
@JSON
def survey(
    source: Path,
    output: Path,
    groups: tuple[str, ...] | None,
    items: tuple[str, ...] | None,
    weight: str | None,
    survey: str | None,
    coding: Path | None,
    strata: str | None,
    psu: str | None,
    encoding: str | None,
    as_json: bool,
) -> None:
    """Tabulate the answers of people in SOURCE, one respondent a row, by group.

    SOURCE is the file of an archive: .sav, .dta, .csv or .parquet. HUMAN is the human side
    of the paired table: weighted shares with Kish's effective sample size.
    """
    from calib.files import table_format, write_table
    from calib.microdata.coding import read_coding
    from calib.microdata.human import human_side
    from calib.show import console, show_pairs

    table_format(output)
    found = human_side(
        source,
        groups=groups,
        items=items,
        weight=weight,
        survey=survey,
        coding=read_coding(coding),
        strata=strata,
        psu=psu,
        encoding=encoding,
    )
    write_table(found.frame, output)
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
    if as_json:
        print_json(
            {
                "source": str(source),
                "human": str(output),
                "counts": dict(found.counts),
                "left_out": dict(found.left_out),
                "assumed": dict(found.assumed),
                "warnings": list(found.warnings),
            }
        )
        return
    shown: dict[str, object] = {name: count for name, count in found.counts.items() if count}
    shown |= {f"assumed: {what}": _short(names) for what, names in found.assumed.items()}
    if found.left_out:
        shown["left out"] = _short([f"{name} ({why})" for name, why in found.left_out.items()])
    show_pairs(f"{output}: {len(found.frame)} rows", shown, console())


@click.command()
@click.argument("human", type=DATA)
@click.argument("elicited", type=DATA)
@click.option("-o", "--output", required=True, type=DATA, metavar="TABLE", help="Table to write.")
@JSON
def pair(human: Path, elicited: Path, output: Path, as_json: bool) -> None:
    """Put HUMAN beside what an LLM answered in ELICITED: the paired table.

    HUMAN is what calib survey writes, or a table with its columns; ELICITED what elicit run
    writes. What has no counterpart is listed.
    """
    from calib.files import table_format, write_table
    from calib.microdata.match import match_files
    from calib.show import console, show_pairs

    table_format(output)
    found = match_files(human, elicited)
    write_table(found.table, output)
    if as_json:
        unmatched = {name: list(those) for name, those in found.unmatched.items()}
        print_json({"table": str(output), "counts": dict(found.counts), "unmatched": unmatched})
        return
    shown: dict[str, object] = {name: count for name, count in found.counts.items() if count}
    shown |= {name: _short(those, 50) for name, those in found.unmatched.items() if those}
    show_pairs(f"{output}: {len(found.table)} rows", shown, console())


def _short(names: Iterable[object], most: int = 12) -> str:
    from calib.microdata.faults import listed

    return listed(names, most)
