"""Files of survey microdata: what their columns are, and their values a piece at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from calib.errors import DataError, MissingExtraError
from calib.microdata.faults import broken

Value = float | str
"""A code: a number, a text, or a Stata missing value such as ``.a``."""
FORMATS: Final = (".sav", ".zsav", ".dta", ".csv", ".parquet")
VALUES_AT_ONCE: Final = 20_000_000
"""How many values a piece of a file holds at most: about 160 MB."""

CSV_BLOCK: Final = 1 << 24
"""Bytes of a text file that are read at once."""


@dataclass(frozen=True)
class Column:
    """One variable as the file describes it."""

    name: str
    label: str | None = None
    """The variable label, where the file has one."""
    labels: Mapping[Value, str] = field(default_factory=dict)
    """Value labels by code."""
    missing: tuple[tuple[Value, Value], ...] = ()
    """Codes that the file declares missing, as ranges with both ends."""
    stata: bool = False
    """Numeric of a Stata file: single letters stand for ``.a`` to ``.z``."""
    ordered: tuple[str, ...] = ()
    """Categories in their order, where the file says that they have one."""

    def is_missing(self, value: Value) -> bool:
        """Whether the file declares the code missing."""
        if self.stata and isinstance(value, str):
            return True
        for low, high in self.missing:
            if isinstance(low, str) or isinstance(high, str) or isinstance(value, str):
                if value in (low, high):
                    return True
            elif low <= value <= high:
                return True
        return False


@dataclass(frozen=True)
class Source:
    """A file of microdata: one row a respondent, one column a variable."""

    path: Path
    columns: Mapping[str, Column]
    labelled: bool
    """Whether the format has value labels, so that codes without one are suspect."""
    chunks: Callable[[Sequence[str]], Iterator[Mapping[str, Any]]]
    """The columns of some names, some rows at a time, as Arrow arrays or pandas series."""


def open_source(path: str | Path, encoding: str | None = None) -> Source:
    """Open a ``.sav``, ``.zsav``, ``.dta``, ``.csv`` or ``.parquet`` file.

    Parameters
    ----------
    path
        The file; no more of it is read than its columns' names and labels.
    encoding
        Of its texts, e.g. ``latin-1``; the file's own or UTF-8 if None.

    Raises
    ------
    MissingExtraError
        If a ``.sav`` or ``.dta`` file is given and pyreadstat is not installed.
    DataError
        If the file is missing, broken, of another format or of another encoding, or has two
        columns of one name.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise broken(
            "survey microdata are a file of " + ", ".join(FORMATS),
            repr(path.suffix),
            "convert the file, e.g. to .csv",
            path,
        )
    with told_as_fault(path):
        if suffix == ".parquet":
            source = _parquet(path)
        elif suffix == ".csv":
            source = _csv(path, encoding)
        else:
            source = _labelled(path, suffix, encoding)
    return source


@contextmanager
def told_as_fault(path: Path) -> Iterator[None]:
    """A context in which what cannot be read becomes a ``DataError`` with the remedy that fits."""
    try:
        yield
    except Exception as error:
        known = isinstance(error, OSError | ValueError | LookupError)
        if isinstance(error, DataError) or not (known or _is_of_readstat(error)):
            raise
        said = " ".join(str(error).split())[:300]
        text = isinstance(error, UnicodeError | LookupError) or any(
            word in said.lower() for word in ("utf8", "utf-8", "encoding", "decode", "iconv")
        )
        if text:
            rule, remedy = "texts are in the encoding of the file", "name it: --encoding latin-1"
        else:
            rule = "the file must be readable"
            remedy = "fetch or export it again" if path.exists() else "check the path"
        raise broken(rule, said, remedy, path) from None


def _is_of_readstat(error: Exception) -> bool:
    return type(error).__module__.startswith("pyreadstat")


def _parquet(path: Path) -> Source:
    with pa.parquet.ParquetFile(path) as file:
        schema = file.schema_arrow
        # Categories of a column are the same in all its pieces.
        ordered = [
            one.name for one in schema if pa.types.is_dictionary(one.type) and one.type.ordered
        ]
        categories: dict[str, tuple[str, ...]] = {}
        for batch in file.iter_batches(batch_size=1, columns=ordered) if ordered else ():
            categories = {
                name: tuple(map(str, batch.column(name).dictionary.to_pylist())) for name in ordered
            }
            break
    columns = [Column(name, ordered=categories.get(name, ())) for name in schema.names]

    def chunks(names: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        with told_as_fault(path), pa.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(_rows_at_once(names), columns=list(names)):
                yield {name: batch.column(name) for name in names}

    return Source(path, _by_name(columns, path), False, chunks)


def _csv(path: Path, encoding: str | None) -> Source:
    def open_csv(names: Sequence[str] | None) -> Any:
        return pa.csv.open_csv(
            path,
            read_options=pa.csv.ReadOptions(encoding=encoding or "utf8", block_size=CSV_BLOCK),
            parse_options=pa.csv.ParseOptions(newlines_in_values=True),
            # All text: a code may be "007", a group may be called "NA".
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(names or (), pa.string()),
                include_columns=None if names is None else list(names),
                strings_can_be_null=True,
                null_values=[""],
            ),
        )

    with open_csv(None) as reader:
        columns = [Column(name) for name in reader.schema.names]
    if len(columns) == 1 and any(mark in columns[0].name for mark in ";\t|"):
        raise broken(
            "commas stand between the columns of a .csv",
            f"one column, {columns[0].name[:80]!r}",
            "save the file with commas, or as .parquet",
            path,
        )

    def chunks(names: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        with told_as_fault(path), open_csv(names) as reader:
            for batch in reader:
                yield {name: batch.column(name) for name in names}

    return Source(path, _by_name(columns, path), False, chunks)


def _labelled(path: Path, suffix: str, encoding: str | None) -> Source:
    try:
        import pyreadstat
    except ImportError:
        raise MissingExtraError(f"a {suffix} file", package="pyreadstat", extra="survey") from None
    read = pyreadstat.read_dta if suffix == ".dta" else pyreadstat.read_sav
    options: dict[str, Any] = {
        "user_missing": True,
        "encoding": encoding,
        "disable_datetime_conversion": True,
    }
    _, meta = read(path, metadataonly=True, **options)
    columns = [_described(name, meta, suffix == ".dta") for name in meta.column_names]

    def chunks(names: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        pieces = pyreadstat.read_file_in_chunks(
            read, path, chunksize=_rows_at_once(names), usecols=list(names), **options
        )
        with told_as_fault(path):
            for frame, _ in pieces:
                yield {name: frame[name] for name in names}

    return Source(path, _by_name(columns, path), True, chunks)


def _described(name: str, meta: Any, stata: bool) -> Column:
    numeric = meta.readstat_variable_types[name] != "string"
    letters = stata and numeric
    labels = meta.variable_value_labels.get(name, {})
    ranges = meta.missing_ranges.get(name, [])
    return Column(
        name,
        label=(meta.column_names_to_labels.get(name) or "").strip() or None,
        labels={code_of(code, letters): str(label).strip() for code, label in labels.items()},
        missing=tuple((code_of(one["lo"], False), code_of(one["hi"], False)) for one in ranges),
        stata=letters,
    )


def code_of(value: Any, stata: bool) -> Value:
    """A value as a code: numbers as float, letters of Stata's missing values as ``.a``."""
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return float(value)
    text = str(value).strip()
    return f".{text}" if stata and len(text) == 1 and text.isalpha() else text


def _by_name(columns: Sequence[Column], path: Path) -> dict[str, Column]:
    names = [column.name for column in columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            broken(
                "each column has a name of its own",
                f"{', '.join(twice)} more than once",
                "rename the columns that share one",
            ).faults,
            file=path,
        )
    return dict(zip(names, columns, strict=True))


def _rows_at_once(names: Sequence[str]) -> int:
    return max(1_000, VALUES_AT_ONCE // max(1, len(names)))
