"""A file's columns as small whole numbers on disk, so that no more than one is in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Int

from calib.microdata.read import Source, Value, code_of

MAX_VALUES: Final = 1_000
"""A column with more distinct values is no question and no group variable."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """Columns of a file, each a list of values and a number per row that points into it."""

    n_rows: int
    dictionaries: Mapping[str, tuple[Value, ...] | None]
    """Distinct values by column, in order of appearance; None if more than ``MAX_VALUES``."""
    kept: Mapping[str, pd.Series]
    """Columns that are held as they are (weights, strata, numbers to be cut)."""
    _scratch: IO[bytes]
    _pieces: tuple[int, ...]
    """Rows of each piece of the scratch file."""

    def codes(self, name: str) -> Int[np.ndarray, " row"]:
        """Each row's place in ``dictionaries[name]``, −1 where the cell is empty."""
        at = list(self.dictionaries).index(name)
        parts, start = [np.empty(0, dtype=np.int16)], 0
        for rows in self._pieces:
            self._scratch.seek(2 * (start + at * rows))
            parts.append(np.frombuffer(self._scratch.read(2 * rows), dtype=np.int16))
            start += rows * len(self.dictionaries)
        return np.concatenate(parts)


def encode(
    source: Source, coded: Sequence[str], kept: Sequence[str], scratch: IO[bytes]
) -> Encoded:
    """Read a file once, from its first row to its last.

    Parameters
    ----------
    source
        The file.
    coded
        Columns whose values become codes: two bytes a value, in ``scratch``.
    kept
        Columns that are held in memory as they are.
    scratch
        An empty binary file, open for reading and writing as long as the result is used.

    Raises
    ------
    DataError
        If the file breaks off or its texts are of another encoding.
    """
    known: dict[str, dict[Value, int]] = {
        name: {one: place for place, one in enumerate(source.columns[name].ordered)}
        for name in coded
    }
    held: dict[str, list[pd.Series]] = {name: [] for name in kept}
    pieces: list[int] = []
    for chunk in source.chunks(list(dict.fromkeys([*coded, *kept]))):
        n_rows = len(next(iter(chunk.values())))
        block = np.full((len(coded), n_rows), -1, dtype=np.int16)
        for row, name in enumerate(coded):
            places, values = _distinct(chunk[name], source.columns[name].stata)
            number = known[name]
            if len(number) <= MAX_VALUES:
                of_place = [
                    -1 if value is None else number.setdefault(value, len(number))
                    for value in values
                ]
            if len(number) <= MAX_VALUES:
                block[row] = np.array([*of_place, -1], dtype=np.int16)[places]
        for name in kept:
            held[name].append(_as_series(chunk[name]))
        scratch.write(block.tobytes())
        pieces.append(n_rows)
    dictionaries = {
        name: tuple(number) if len(number) <= MAX_VALUES else None for name, number in known.items()
    }
    whole = {
        name: pd.concat(parts, ignore_index=True) if parts else pd.Series(dtype=float)
        for name, parts in held.items()
    }
    return Encoded(sum(pieces), dictionaries, whole, scratch, tuple(pieces))


def _distinct(column: Any, stata: bool) -> tuple[Int[np.ndarray, " row"], list[Value | None]]:
    """Each row's place among the distinct values, −1 where empty; an empty text is None."""
    if isinstance(column, pa.Array):
        if pa.types.is_nested(column.type):
            column = pa.array([None if one is None else str(one) for one in column.to_pylist()])
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        places = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.intp)
        values = column.dictionary.to_pylist()
    else:
        places, found = pd.factorize(column)
        values = found.tolist()
    codes: list[Value | None] = []
    for value in values:
        code = None if value is None else code_of(value, stata)
        codes.append(None if code == "" or code != code else code)
    return places, codes


def _as_series(column: Any) -> pd.Series:
    found: pd.Series = column.to_pandas() if isinstance(column, pa.Array) else column
    return found
