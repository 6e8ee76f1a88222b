"""What the commands of ``elicit`` share: options, where the store is, how results are told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from calib.errors import CalibError, DataError, Fault

FILE = click.Path(path_type=Path)
SURVEY = click.argument("survey", type=FILE)
SEED = click.option("--seed", default=0, show_default=True, help="Seed of everything random.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
STORE = click.option(
    "--store", type=FILE, help="File with all replies; SURVEY with the suffix .sqlite if not given."
)
MAX_CALLS = click.option(
    "--max-calls", type=click.IntRange(min=1), help="Most calls; more are refused beforehand."
)
MAX_COST = click.option(
    "--max-cost",
    type=click.FloatRange(min=0, min_open=True),
    help="Most money, in the currency of the survey's prices; the run stops before.",
)


class Main(click.Group):
    """Tells errors of this package in one message and ends with their exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except CalibError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(error.exit_code)


def store_of(survey: Path, store: Path | None) -> Path:
    """Where the replies to a survey are kept."""
    return survey.with_suffix(".sqlite") if store is None else store


def existing(store: Path) -> Path:
    """The store's path, if it is there: opening one that is not would make an empty one."""
    if not store.is_file():
        raise DataError(
            Fault(
                rule="a store is a file that elicit run has written",
                value="no such file",
                remedy="check the path, or run elicit run first",
            ),
            file=store,
        )
    return store


def tell(title: str, found: Mapping[str, object], as_json: bool) -> None:
    """Names and values as a table, or as the one JSON document."""
    if as_json:
        print_json(found)
    else:
        from elicit.show import show_pairs

        show_pairs(title, found)


def print_json(document: Any) -> None:
    """The one JSON document on standard output."""
    click.echo(json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False))
