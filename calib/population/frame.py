"""A population frame: how many people there are in each group."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from calib.errors import DataError, Fault
from calib.paired import Counts
from calib.survey import Group
from calib.table import as_number, read_frame

SIZE: Final = "size"
MARGINS: Final = ["attribute", "group"]


class Frame(NamedTuple):
    """Sizes of the groups of one or several attributes, each of which divides the people."""

    sizes: Mapping[Group, float]
    """People or shares of people: sizes are compared within an attribute only."""
    counts: Counts

    @property
    def attributes(self) -> list[str]:
        """Sorted names of the attributes."""
        return sorted({group.attribute for group in self.sizes})


def read_frame_file(path: str | Path, attributes: Collection[str]) -> Frame:
    """Read and check a population frame (``.parquet``, ``.csv``, ``.jsonl``).

    ``DataError`` with every fault of the file; see ``check_population``.
    """
    try:
        return check_population(read_frame(path), attributes)
    except DataError as error:
        raise error if error.file else error.in_file(path) from None


def check_population(table: pd.DataFrame, attributes: Collection[str]) -> Frame:
    """A frame from margins (``attribute``, ``group``, ``size``) or from crossed cells.

    Crossed cells have ``size`` and a column for each attribute, one row a combination. They
    are added up to margins, and lose nothing by it: with N_k people in cell k and groups'
    shares p_g, the population's share Σ_g N_g p_g / Σ_g N_g holds the cells by N_g alone.

    Parameters
    ----------
    attributes
        Those that predictions are by; columns of crossed cells that are none of them are
        added over and counted (``frame_columns_added_over``).

    Raises
    ------
    DataError
        Where columns or rows are missing, a group or cell recurs or has no name, a size is
        no positive finite number, or no attribute is one of the predictions'.
    """
    margins = set(MARGINS) <= set(table)
    keys = MARGINS if margins else [str(name) for name in table if name != SIZE]
    if SIZE not in table or table.empty or not keys:
        raise DataError(
            Fault(
                "a population frame has attribute, group and size, or a column for each "
                "attribute beside size, and at least one row",
                f"{len(table)} rows of {', '.join(map(str, table)) or 'no column'}",
                "name the columns so",
            )
        )
    typed, faults = _typed(table.reset_index(drop=True), keys)
    if faults:
        raise DataError(faults)
    if margins:
        sizes = {
            Group(attribute, group): float(size)
            for attribute, group, size in typed[[*keys, SIZE]].itertuples(index=False)
        }
        counts = {"frame_groups": len(sizes)}
    else:
        used = [name for name in keys if name in attributes]
        sizes = {
            Group(name, str(group)): float(size)
            for name in used
            for group, size in typed.groupby(name)[SIZE].sum().items()
        }
        counts = {
            "frame_groups": len(sizes),
            "frame_cells_added_to_margins": len(typed),
            "frame_columns_added_over": len(keys) - len(used),
        }
    frame = Frame(sizes, counts)
    if not set(frame.attributes) & set(attributes):
        raise DataError(
            Fault(
                "frame and predictions have an attribute in common",
                f"{', '.join(frame.attributes or keys)} in the frame",
                f"give the sizes of groups of {', '.join(sorted(attributes))}",
                MARGINS[0] if margins else None,
            )
        )
    return frame


def _typed(table: pd.DataFrame, keys: list[str]) -> tuple[pd.DataFrame, list[Fault]]:
    faults: list[Fault] = []
    columns: dict[str, pd.Series] = {}

    def check(bad: pd.Series, rule: str, value: str, remedy: str, column: str) -> None:
        rows = np.flatnonzero(bad.to_numpy())
        if len(rows):
            found = value.format(*(columns[column].iloc[rows[:1]]))
            faults.append(Fault(rule, found, remedy, column, tuple(rows.tolist())))

    for name in keys:
        columns[name] = table[name].astype(str)
        empty = table[name].isna() | (columns[name].str.strip() == "")
        check(empty, "every row names its group", "an empty cell", "name it", name)
    columns[SIZE], unreadable = as_number(SIZE, table[SIZE])
    faults += unreadable
    readable = ~pd.Series(range(len(table))).isin([row for one in unreadable for row in one.rows])
    size = columns[SIZE]
    check(
        readable & (~(size > 0) | np.isinf(size)),
        "a group has a positive number of people",
        "{:g}",
        "leave groups out that the population does not have",
        SIZE,
    )
    typed = pd.DataFrame(columns)
    check(
        typed.duplicated(keys, keep=False),
        "one row per group, or per cell of a crossed frame",
        "{} more than once",
        "add their sizes up",
        keys[-1],
    )
    return typed, faults
