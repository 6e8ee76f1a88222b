"""What all commands share: options, how errors end them, how results are told."""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import click

from calib.errors import CalibError

NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})
"""A disk that takes no more."""
EXIT_INTERRUPTED: Final = 130
INTERRUPTED: Final = (
    "interrupted: no output is half written; a study or elicit run goes on where it was"
)
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
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            click.echo(f"error: {error}; remedy: free some space, here or in TMPDIR", err=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo(INTERRUPTED, err=True)
            if threading.active_count() > 1:
                # A thread that samples cannot be told to stop, and Python would wait for it.
                with suppress(OSError):
                    sys.stdout.flush()
                os._exit(EXIT_INTERRUPTED)
            ctx.exit(EXIT_INTERRUPTED)


def print_json(document: Any) -> None:
    """The one JSON document on standard output."""
    click.echo(json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False))
