"""SubPOP: answers of American subpopulations to questions of the ATP and the GSS.

Suh et al., *Language Model Fine-Tuning on Scaled Survey Data for Predicting Distributions of
Public Opinions* (arXiv 2502.16761): JSON Lines, one line a question and group, with ``qkey``,
``question``, ``options`` (the last one a refusal), ``ordinal`` (values of the others),
``attribute``, ``group``, ``responses`` (shares of the others, refusals left out) and
``refusal_rate``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from calib.errors import DataError, Fault
from calib.importers.columns import require
from calib.importers.human_rows import (
    cell_rows,
    checked_human,
    closed_shares,
    literal,
    numbers_of,
)
from calib.importers.imported import Imported
from calib.survey import Group, Option, Question, Scale
from calib.table import read_frame

COLUMNS: Final = (
    "qkey", "question", "options", "ordinal", "attribute", "group", "responses", "refusal_rate",
)  # fmt: skip


def read(source: Path, *, survey: str | None = None) -> Imported:
    """The human table of a copy of the data set, as ``.jsonl`` (or Parquet or CSV of it).

    The survey is the file's name unless given. A question whose values are not all
    different is nominal. The share of an option is its share among answers times one minus
    the refusal rate; n is unknown.

    Raises
    ------
    DataError
        With all faults of the file.
    """
    frame = read_frame(source)
    frame.columns = frame.columns.astype(str)
    require(frame, COLUMNS, "name a copy of subpop_train.jsonl or subpop_eval.jsonl", source)
    counts: Counter[str] = Counter()
    faults: list[Fault] = []
    rows: list[tuple[object, ...]] = []
    for row, line in enumerate(frame.to_dict("records")):
        try:
            question, shares = _line(line, row, survey or source.stem, counts)
        except DataError as error:
            faults += error.faults
            continue
        if shares is not None:
            counts["cells"] += 1
            group = Group(str(line["attribute"]), str(line["group"]))
            rows += cell_rows(question, group, shares, None)
    if faults:
        raise DataError(faults, file=source)
    return checked_human(rows, counts, source)


def _line(
    line: Mapping[Any, Any], row: int, survey: str, counts: Counter[str]
) -> tuple[Question, list[float] | None]:
    labels = [str(one) for one in _list(line["options"], row, "options")]
    values = numbers_of(_list(line["ordinal"], row, "ordinal"), row, "ordinal")
    shares = numbers_of(_list(line["responses"], row, "responses"), row, "responses")
    [refused] = numbers_of([_number(line["refusal_rate"])], row, "refusal_rate")
    if not len(labels) - 1 == len(values) == len(shares) or not 0 <= refused <= 1:
        raise DataError(
            Fault(
                "options are one more than responses and values, the last being a refusal with "
                "a rate from 0 to 1",
                f"{len(labels)} options, {len(shares)} responses, {len(values)} values, "
                f"refusal rate {refused:g}",
                "fetch the file again, or correct the row",
                "options",
                (row,),
            )
        )
    ordinal = len(set(values)) == len(values)
    options = [
        Option(index, label, value if ordinal else None)
        for index, (label, value) in enumerate(zip(labels, values, strict=False))
    ]
    options.append(Option(len(values), labels[-1], None, "refused"))
    scale: Scale = "binary" if len(values) == 2 else "ordinal" if ordinal else "nominal"
    question = Question(survey, str(line["qkey"]), str(line["question"]), scale, tuple(options))
    found = closed_shares(shares, counts)
    if found is None:
        return question, None
    return question, [*(share * (1 - refused) for share in found), refused]


def _list(value: Any, row: int, column: str) -> list[Any]:
    # Parquet gives arrays, CSV texts.
    return list(literal(value.tolist() if hasattr(value, "tolist") else value, list, row, column))


def _number(value: Any) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError):
        return value
