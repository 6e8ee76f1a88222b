"""What the commands of ``elicit`` share: options, where the store is, how results are told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from calib.errors import DataError, Fault
from calib.options import DATA, print_json

SURVEY = click.argument("survey", type=DATA)
STORE = click.option(
    "--store", type=DATA, help="File with all replies; SURVEY with the suffix .sqlite if not given."
)
MAX_CALLS = click.option(
    "--max-calls", type=click.IntRange(min=1), help="Most calls; more are refused beforehand."
)
MAX_COST = click.option(
    "--max-cost",
    type=click.FloatRange(min=0, min_open=True),
    help="Most money, in the currency of the survey's prices; the run stops before.",
)


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
