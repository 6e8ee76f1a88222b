"""Writing results so that they appear whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from calib.errors import DataError, Fault, WriteError
from calib.swap import exchange

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

NETCDF_BYTES: Final = 2**20
"""Of a NetCDF file, beside its arrays, at most."""
ABANDONED: Final = 24 * 3600.0
"""Seconds after which a draft is that of a run that was killed."""
FORMATS: Final = (".parquet", ".csv", ".jsonl")
"""Of tables, by suffix."""


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """A draft beside ``path`` that takes its place when the block ends without an error.

    The former file stays as it is until then; a failed block leaves nothing behind, a killed
    one at most a hidden draft, which the next after a day removes. ``WriteError`` where the
    disk is full or the place is taken away.
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
        if not (path.exists() and exchange(draft, path)):
            # Killed between the two, the former folder is found in the draft's.
            if path.exists():
                path.rename(folder / "former")
            draft.rename(path)


def write_table(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a frame in the format of its suffix; the file appears whole or not at all.

    The same frame gives the same bytes.
    """
    path = Path(path)
    suffix = table_format(path)
    with atomic_file(path) as draft:
        if suffix == ".parquet":
            frame.to_parquet(draft, index=False)
        elif suffix == ".csv":
            frame.to_csv(draft, index=False)
        else:
            _write_json_lines(frame, draft)


def write_netcdf(data: xr.Dataset | xr.DataTree, draft: Path) -> None:
    """Write a data set or a tree of them; ``OSError`` where there is no room for it.

    HDF5 takes the whole process down with it when a disk fills up while it writes, so the room
    is asked for before.
    """
    import xarray as xr

    nodes = [node.dataset for node in data.subtree] if isinstance(data, xr.DataTree) else [data]
    # Texts count with less than they take.
    n_bytes = NETCDF_BYTES + sum(node.nbytes for node in nodes) * 11 // 10
    with tempfile.TemporaryFile(dir=draft.parent) as room:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(room.fileno(), 0, n_bytes)
        elif shutil.disk_usage(draft.parent).free < n_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(draft))
    data.to_netcdf(draft, engine="h5netcdf")


def table_format(path: Path) -> str:
    """The format that a table's suffix names; ``DataError`` for another."""
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise DataError(
            Fault(
                rule="a table's suffix tells its format: " + ", ".join(FORMATS),
                value=repr(path.suffix),
                remedy="rename or convert the file, or name another output",
            ),
            file=path,
        )
    return suffix


def unwritable(error: OSError) -> DataError:
    """What is told where an output cannot even be begun."""
    return DataError(
        Fault(
            rule="the folder of an output must be writable",
            value=str(error),
            remedy="name another place with -o",
        )
    )


def _replaceable(path: Path, marker: str) -> bool:
    return (path / marker).exists() or not any(path.iterdir())


@contextmanager
def _draft_folder(path: Path) -> Iterator[Path]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Beside the target, so that the last step is a rename within one file system.
        drafts = f".{path.name}.draft-"
        _remove_abandoned(path.parent, drafts)
        folder = Path(tempfile.mkdtemp(prefix=drafts, dir=path.parent))
    except OSError as error:
        raise unwritable(error) from None
    try:
        yield folder
    except OSError as error:
        raise WriteError(path, error.strerror or str(error)) from None
    except RuntimeError as error:
        # HDF5's way to tell of a disk that takes no more, when the file is closed.
        if "errno =" not in str(error):
            raise
        raise WriteError(path, str(error)) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(parent: Path, drafts: str) -> None:
    """Drafts of the same output that a killed run left long ago; a newer one may be in use."""
    for entry in parent.iterdir():
        if entry.name.startswith(drafts):
            with suppress(OSError):
                if time.time() - entry.stat().st_mtime > ABANDONED:
                    shutil.rmtree(entry, ignore_errors=True)


def _write_json_lines(frame: pd.DataFrame, path: Path) -> None:
    # Not DataFrame.to_json: that keeps 15 digits, and a share has up to 17.
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    columns = [frame[name].astype(object).where(frame[name].notna(), None) for name in frame]
    with path.open("w", encoding="utf-8", newline="\n") as lines:
        for row in zip(*columns, strict=True):
            lines.write(encode(dict(zip(frame.columns, row, strict=True))) + "\n")
