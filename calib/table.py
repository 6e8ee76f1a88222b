"""The paired table as a file: its columns, reading and writing it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from calib.errors import DataError, Fault
from calib.files import table_format
from calib.rules import faults_of_table

TEXT_COLUMNS: Final = (
    "survey", "question_id", "question", "scale", "option", "option_kind",
    "attribute", "group", "model", "elicitation", "prompt", "outcome",
)  # fmt: skip
NUMBER_COLUMNS: Final = ("option_index", "option_value", "n_human", "p_human", "p_llm")
COLUMNS: Final = (
    "survey", "question_id", "question", "scale", "option_index", "option", "option_value",
    "option_kind", "attribute", "group", "n_human", "p_human", "model", "elicitation",
    "prompt", "outcome", "p_llm",
)  # fmt: skip
MAY_BE_ABSENT: Final = ("option_value", "n_human", "p_human")
"""Columns whose absence means that all their values are null."""


def read_table(path: str | Path) -> pd.DataFrame:
    """Read and check a paired table.

    Parameters
    ----------
    path
        A ``.parquet``, ``.csv`` or ``.jsonl`` file with the columns of ``COLUMNS``;
        those of ``MAY_BE_ABSENT`` may be missing and further columns are ignored.

    Returns
    -------
    One row per setting, group, question and option, with exactly ``COLUMNS``; text as
    ``str``, ``option_index`` as integer, the other numbers as float with NaN for null.

    Raises
    ------
    DataError
        With every fault of the file at once.
    """
    frame = read_frame(path)
    try:
        return check_table(frame)
    except DataError as error:
        raise error.in_file(path) from None


def check_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Bring a frame to the table's columns and types; ``DataError`` with all its faults."""
    missing = [name for name in COLUMNS if name not in frame and name not in MAY_BE_ABSENT]
    if missing:
        raise DataError(
            Fault(
                rule="a paired table has the columns " + ", ".join(COLUMNS),
                value=f"no column {', '.join(missing)} among {', '.join(map(str, frame.columns))}",
                remedy="add the missing columns, or bring other layouts in with calib import",
            )
        )
    if frame.empty:
        raise DataError(
            Fault(
                rule="a paired table has at least one row",
                value="none",
                remedy="check the step that wrote the file",
            )
        )
    typed, faults = _typed(frame)
    faults += [fault for fault in faults_of_table(typed) if not _told(fault, faults)]
    if faults:
        raise DataError(faults)
    return typed.astype({"option_index": np.int64})


def read_frame(path: str | Path) -> pd.DataFrame:
    """A table file as it stands, unchecked; ``DataError`` where the file itself is broken."""
    path = Path(path)
    suffix = table_format(path)
    try:
        if suffix == ".parquet":
            return pd.read_parquet(path)
        if suffix == ".csv":
            # All text: a group may be called "NA" or "None", an id "007".
            return pd.read_csv(path, dtype=str, keep_default_na=False)
        return _read_json_lines(path)
    except (OSError, ValueError) as error:  # ArrowInvalid and parser errors are ValueErrors
        raise DataError(
            Fault(
                rule=f"the file must be a readable {suffix} table",
                value=" ".join(str(error).split())[:300],
                remedy="the file is truncated or of another format: write it again"
                if path.exists()
                else "check the path",
            ),
            file=path,
        ) from None


def _read_json_lines(path: Path) -> pd.DataFrame:
    """One JSON object a line; numbers to the last bit and texts untouched."""
    records = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"line {number}: {error}") from None
            if not isinstance(record, dict):
                raise ValueError(f"line {number}: not a JSON object")
            records.append(record)
    return pd.DataFrame(records)


def _typed(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[Fault]]:
    frame = frame.reset_index(drop=True)
    columns: dict[str, pd.Series] = {}
    faults: list[Fault] = []
    for name in COLUMNS:
        column = frame[name] if name in frame else pd.Series(np.nan, index=frame.index)
        if name in NUMBER_COLUMNS:
            columns[name], fault = as_number(name, column)
            faults += fault
        else:
            absent = column.isna() | (column.astype(str).str.strip() == "")
            columns[name] = column.astype(str).mask(absent)
    return pd.DataFrame(columns), faults


def _told(fault: Fault, earlier: list[Fault]) -> bool:
    """Whether the same cells of the file were found at fault before, as unreadable numbers."""
    return any(fault.column == one.column and {*fault.rows} <= {*one.rows} for one in earlier)


def as_number(name: str, column: pd.Series) -> tuple[pd.Series, list[Fault]]:
    """A column as floats, NaN where it is empty, and the fault of what is no number."""
    if pd.api.types.is_numeric_dtype(column):
        return pd.Series(column.to_numpy(dtype=float, na_value=np.nan)), []
    empty = column.isna() | column.astype(str).str.strip().isin(["", "NA", "NaN", "nan", "null"])
    number = pd.to_numeric(column.mask(empty), errors="coerce").astype(float)
    bad = (number.isna() & ~empty).to_numpy()
    if not bad.any():
        return number, []
    fault = Fault(
        rule="values must be numbers or empty",
        value=repr(column[bad].iloc[0]),
        remedy="write numbers with a decimal point and no unit",
        column=name,
        rows=tuple(np.flatnonzero(bad).tolist()),
    )
    return number, [fault]
