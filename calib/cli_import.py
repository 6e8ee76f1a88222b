"""The command ``calib import``: other layouts become the paired table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from calib.options import DATA


def _names(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = [name.strip() for name in value.split(",")]
    if not all(names) or len(set(names)) < len(names):
        raise click.BadParameter("give names, each once, separated by commas")
    return tuple(names)


_INDIVIDUAL = ("scales", "survey", "groups", "prompt")
IMPORTERS = {
    "meister": ("meister", ()),
    "synthbench": ("synthbench", ("scales",)),
    "answers": ("answer_table", (*_INDIVIDUAL, "model")),
    "edsl": ("edsl", _INDIVIDUAL),
    "inspect": ("inspect_logs", _INDIVIDUAL),
    "qstn": ("qstn", (*_INDIVIDUAL, "model")),
    "globalopinionqa": ("globalopinionqa", ("survey",)),
    "subpop": ("subpop", ("survey",)),
    "simbench": ("simbench", ()),
}
"""The module that reads a kind of source, and the options that it takes."""


@click.command("import")
@click.argument("kind", type=click.Choice(list(IMPORTERS)))
@click.argument("source", type=DATA)
@click.option("-o", "--output", required=True, type=DATA, help="Table to write.")
@click.option(
    "--scales", type=DATA,
    help="Table of the questions' options (a questionnaire's CSV or a paired table), joined "
    "with its human answers if it has some. synthbench: an OpinionQA info.csv.",
)  # fmt: skip
@click.option("--survey", metavar="NAME", help="Name of the survey.")
@click.option(
    "--groups", metavar="NAMES", callback=_names,
    help="Columns, traits or metadata that tell groups apart, separated by commas.",
)  # fmt: skip
@click.option("--model", metavar="NAME", help="answers, qstn: the model, if no column has it.")
@click.option("--prompt", metavar="NAME", help="Name of the prompt; sd with --groups, else base.")
def import_table(kind: str, source: Path, output: Path, **given: Any) -> None:
    """Turn another layout into a paired table.

    meister and synthbench are published benchmarks. The others are individual answers of a
    model, whose frequencies become shares: answers is a plain table with question_id and
    answer, edsl, inspect and qstn are results of these frameworks. globalopinionqa, subpop
    and simbench hold human answers alone: their TABLE is the HUMAN of calib pair.
    """
    from importlib import import_module

    from calib.files import write_table
    from calib.show import console, show_pairs

    module, takes = IMPORTERS[kind]
    options = {name: value for name, value in given.items() if value is not None}
    for name in options:
        if name not in takes:
            among = f"; it takes --{', --'.join(takes)}" if takes else ""
            raise click.UsageError(f"--{name} does not go with {kind}{among}")
    imported = import_module(f"calib.importers.{module}").read(source, **options)
    write_table(imported.table, output)
    show_pairs(f"{output}: {len(imported.table)} rows", imported.counts, console())
