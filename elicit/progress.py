"""A progress bar on standard error: calls, rate, failures and time left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from elicit.types import Reply


@contextmanager
def progress_bar(what: str, calls: int, from_store: int) -> Iterator[Callable[[Reply], None]]:
    """Shown on a terminal only; to be called with each reply.

    Parameters
    ----------
    calls
        Calls to make.
    from_store
        Replies that are there already, told beside.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[failed]} failed"),
        TextColumn(f"{from_store} from the store"),
        TimeRemainingColumn(),
    )
    failed = 0
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=calls, failed=0, rate="")

        def tell(reply: Reply) -> None:
            nonlocal failed
            failed += reply.outcome == "failed"
            speed = bar.tasks[0].speed
            rate = "" if speed is None else f"{speed:.1f} a second"
            bar.update(task, advance=1, failed=failed, rate=rate)

        yield tell
