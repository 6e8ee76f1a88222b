"""What all commands share: options, how errors end them, how results are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from calib.errors import CalibError

DATA = click.Path(path_type=Path)
SEED = click.option("--seed", default=0, show_default=True, help="Seed of everything random.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
INTERVAL = click.option(
    "--interval", default=0.9, show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True), help="Level of the intervals.",
)  # fmt: skip
SOURCES = click.option(
    "--sources",
    metavar="SELECTION",
    help="Settings to use: model=…, elicitation=…, prompt=… separated by commas, values "
    "separated by |; the word all joins them as sources of one fit.",
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


def print_json(document: Any) -> None:
    """The one JSON document on standard output."""
    click.echo(json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False))
