"""Columns of a table of answers, as plain texts; what one value for all rows replaces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from calib.errors import DataError, Fault
from calib.table import read_frame


def read_texts(path: Path, required: Sequence[str], remedy: str) -> pd.DataFrame:
    """A table file with every cell as stripped text, empty where there is none.

    ``DataError`` where the file cannot be read, lacks required columns or has no row.
    """
    frame = read_frame(path).reset_index(drop=True)
    frame.columns = pd.Index([str(name) for name in frame.columns])
    require(frame, required, remedy, path)
    if frame.empty:
        raise DataError(
            Fault("a table of answers has at least one row", "none", "check how it was written"),
            file=path,
        )
    return frame.astype(object).where(frame.notna(), "").astype(str).apply(_stripped)


def require(frame: pd.DataFrame, names: Sequence[str], remedy: str, path: Path) -> None:
    """``DataError`` that names the columns that the table lacks."""
    missing = [name for name in names if name not in frame]
    if missing:
        raise DataError(
            Fault(
                "the columns " + ", ".join(names) + " are there",
                f"no column {', '.join(missing)} among {', '.join(frame.columns)}"[:500],
                remedy,
            ),
            file=path,
        )


def column_or_one(
    frame: pd.DataFrame, name: str, one: str | None, default: str | None, path: Path
) -> list[str]:
    """A column's values, or one value for all rows: given by the user, else the default.

    ``DataError`` where it is said twice, not at all, or is empty in some rows.
    """
    if name not in frame:
        if one is None and default is None:
            raise DataError(
                Fault(
                    f"the {name} is known",
                    f"no column {name} and no --{name}",
                    f"add the column, or name it with --{name}",
                ),
                file=path,
            )
        return [one or default or ""] * len(frame)
    if one is not None:
        raise DataError(
            Fault(
                f"the {name} is said once",
                f"a column {name} and --{name} {one}",
                f"remove the column or --{name}",
                name,
            ),
            file=path,
        )
    empty = (frame[name] == "").to_numpy().nonzero()[0]
    if len(empty):
        raise DataError(
            Fault(
                f"the column {name} is filled in every row",
                "empty",
                "fill it in, or remove the column and name one for all rows",
                name,
                tuple(empty.tolist()),
            ),
            file=path,
        )
    return list(frame[name])


def _stripped(column: pd.Series) -> pd.Series:
    return column.str.strip()
