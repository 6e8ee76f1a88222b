"""Writing results so that they appear whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from calib.errors import DataError, Fault


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """A draft beside ``path`` that takes its place when the block ends without an error.

    The former file stays as it is until then; a failed block leaves nothing behind.
    """
    path = Path(path)
    if path.is_dir():
        raise DataError(
            Fault(
                rule="this output is a file",
                value=f"{path} is a folder",
                remedy="name a file in it",
            )
        )
    with _draft_folder(path) as folder:
        # Same suffix: writers choose their format by it.
        draft = folder / path.name
        yield draft
        draft.replace(path)


@contextmanager
def atomic_folder(path: str | Path, *, marker: str) -> Iterator[Path]:
    """A draft folder that takes the place of ``path`` when the block ends without an error.

    An existing folder is replaced only when it is empty or holds the file ``marker``, that
    is, when it is an earlier result of the same kind; else ``DataError``.
    """
    path = Path(path)
    if path.exists() and not (path.is_dir() and _replaceable(path, marker)):
        raise DataError(
            Fault(
                rule=f"only an empty folder or one with {marker} is written over",
                value=f"{path} holds something else",
                remedy="name another folder or remove this one",
            )
        )
    if Path.cwd().is_relative_to(path.resolve()):
        raise DataError(
            Fault(
                rule="an output folder is replaced as a whole, which the current one cannot be",
                value=str(path),
                remedy="name a folder of its own for the output",
            )
        )
    with _draft_folder(path) as folder:
        draft = folder / path.name
        draft.mkdir()
        yield draft
        if path.exists():
            path.rename(folder / "former")
        draft.rename(path)


def _replaceable(path: Path, marker: str) -> bool:
    return (path / marker).exists() or not any(path.iterdir())


@contextmanager
def _draft_folder(path: Path) -> Iterator[Path]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Beside the target, so that the last step is a rename within one file system.
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise DataError(
            Fault(
                rule="the folder of an output must be writable",
                value=str(error),
                remedy="name another place with -o",
            )
        ) from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
