"""A survey's file as the human side of the paired table."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from calib.errors import DataError, Fault
from calib.microdata.coding import Coding
from calib.microdata.design import settle_design
from calib.microdata.encode import Encoded, encode
from calib.microdata.groups import Attribute, cut_groups, everybody, labelled_groups
from calib.microdata.items import Item, faults_of_item, settle_item, why_no_item
from calib.microdata.kinds import Patterns, compiled
from calib.microdata.meanings import meanings
from calib.microdata.plan import Plan, plan_columns
from calib.microdata.read import Source, open_source
from calib.microdata.rows import SMALL_CELL, Rows
from calib.microdata.weights import settle_weights


@dataclass(frozen=True, eq=False)
class Human:
    """Human answers by group, with all that was left out, assumed or is small."""

    frame: pd.DataFrame
    """One row a question, group and option: see ``calib.microdata.rows``."""
    counts: Mapping[str, int]
    left_out: Mapping[str, str]
    """Why, by variable that was not asked for by name."""
    assumed: Mapping[str, Sequence[str]]
    """Variables by what was assumed of them."""
    warnings: Sequence[str]


def human_side(
    path: str | Path,
    *,
    groups: Sequence[str] | None = None,
    items: Sequence[str] | None = None,
    weight: str | None = None,
    survey: str | None = None,
    coding: Coding | None = None,
    strata: str | None = None,
    psu: str | None = None,
    encoding: str | None = None,
) -> Human:
    """Weighted shares of a survey's questions in groups of its respondents.

    The file is read once, in pieces; each column is then worked on alone, so memory does
    not grow with the number of columns.

    Parameters
    ----------
    path
        See ``calib.microdata.read.open_source``.
    groups
        Variables that divide respondents; the coding's if None. Everybody, ``all: all``, is
        always there.
    items
        Variables that are questions; the coding's if None, all others if it names none. Those
        that cannot be questions are then left out and named.
    weight
        Column of weights; the coding's if None, and if there is none all respondents weigh
        the same.
    survey
        Its name; the coding's or the file's if None.
    strata, psu
        Columns of the sample's design: standard errors of shares are then given.
    encoding
        Of the texts in the file.

    Raises
    ------
    DataError
        With all faults of the file and the coding.
    """
    coding = coding or Coding()
    source = open_source(path, encoding)
    weight = coding.weight if weight is None else weight
    plan, faults = plan_columns(
        source, coding, groups=groups, items=items, weight=weight, strata=strata, psu=psu
    )
    if faults:
        raise DataError(faults, file=source.path)
    name = survey or coding.survey or source.path.stem
    with tempfile.TemporaryFile() as scratch:
        encoded = encode(source, plan.coded, plan.kept, scratch)
        if encoded.n_rows == 0:
            fault = Fault("a survey has respondents", "no row", "check how the file was written")
            raise DataError(fault, file=source.path)
        try:
            return _tabulated(source, encoded, plan, coding, name, weight)
        except DataError as error:
            raise error.in_file(source.path) from None


def _tabulated(
    source: Source,
    encoded: Encoded,
    plan: Plan,
    coding: Coding,
    survey: str,
    weight: str | None,
) -> Human:
    patterns = compiled(coding.patterns)
    weights, faults = settle_weights(source, encoded, weight, coding)
    attributes, more = _attributes(source, encoded, plan, coding, patterns)
    faults += more
    settled, left_out, more = _items(source, encoded, plan, coding, patterns, survey)
    faults += more
    strata, psu = (None if one is None else encoded.kept[one] for one in (plan.strata, plan.psu))
    design, counts, more = settle_design(encoded.n_rows, strata, psu, coding.single_psu)
    faults += more
    if not settled and not faults:
        reasons = "; ".join(f"{one}: {why}" for one, why in list(left_out.items())[:10])
        faults = [Fault("a survey has a question", reasons or "none", "name items with --items")]
    if faults:
        raise DataError(faults)
    rows = Rows(attributes, design, leave_out_unweighted=coding.missing_weight is not None)
    for name, item in settled.items():
        rows.add(item, encoded.codes(name), *weights.of(name, coding))
    rows.check()
    counts = {
        "respondents": encoded.n_rows,
        "questions": len(settled),
        "questions_of_one_wording": sum(map(len, _of_one_wording(settled).values())),
        "variables_left_out": len(left_out),
        **{
            f"respondents_without_{one.name}": int((one.group_of_row < 0).sum())
            for one in attributes[1:]
        },
        **rows.counts,
        "answer_options_that_are_no_answer_and_nobody_chose": sum(
            one.unseen for one in settled.values()
        ),
        **counts,
    }
    assumed: defaultdict[str, list[str]] = defaultdict(list)
    for name, item in settled.items():
        for what in item.assumed:
            assumed[what].append(name)
    for attribute in attributes:
        if attribute.from_codes:
            assumed["groups are named by their codes"].append(attribute.name)
    frame = rows.frame()
    return Human(frame, counts, left_out, assumed, _warnings(settled, counts))


def _attributes(
    source: Source, encoded: Encoded, plan: Plan, coding: Coding, patterns: Patterns
) -> tuple[list[Attribute], list[Fault]]:
    attributes = [everybody(encoded.n_rows)]
    faults: list[Fault] = []
    for name in plan.groups:
        column, variable = source.columns[name], coding.of(name)
        if name in plan.cut:
            found = cut_groups(column, encoded.kept[name], coding, patterns)
        else:
            meant = meanings(source, encoded, name, coding, patterns)
            faults += meant.faults
            found = labelled_groups(name, meant, encoded, variable)
        if isinstance(found, Fault):
            faults.append(found)
        else:
            attributes.append(found)
    return attributes, faults


def _items(
    source: Source,
    encoded: Encoded,
    plan: Plan,
    coding: Coding,
    patterns: Patterns,
    survey: str,
) -> tuple[dict[str, Item], dict[str, str], list[Fault]]:
    settled: dict[str, Item] = {}
    left_out = dict(plan.absent)
    faults: list[Fault] = []
    for name in plan.items:
        variable, values = coding.of(name), encoded.dictionaries[name]
        found = meanings(source, encoded, name, coding, patterns)
        why = why_no_item(values, found, variable)
        if why is None and not plan.named and not any(one.written for one in found.answers):
            why = "nobody answered"
        if why is not None and plan.named:
            faults.append(
                Fault(
                    "an item is a question with a few answers",
                    why,
                    f"take it out of --items, or say under [variables.{name}] of the coding what "
                    "its codes are: labels, recode, missing or unlabelled",
                    name,
                )
            )
        elif why is not None or values is None:
            left_out[name] = why or ""
        else:
            wrong = faults_of_item(name, found, variable)
            faults += wrong
            if not wrong:
                settled[name] = settle_item(name, survey, found, values, variable)
    return settled, left_out, faults


def _warnings(settled: Mapping[str, Item], counts: Mapping[str, int]) -> list[str]:
    warnings = []
    for name in ("cells_with_few_respondents", "cells_with_small_effective_size"):
        if counts[name]:
            warnings.append(
                f"{counts[name]} of {counts['cells']} {name.replace('_', ' ')} (below {SMALL_CELL})"
            )
    for text, those in _of_one_wording(settled).items():
        warnings.append(
            f"{', '.join(those)} have one wording, {text[:80]!r}: tell them apart with "
            "question in the coding unless they are the same question"
        )
    return warnings


def _of_one_wording(settled: Mapping[str, Item]) -> dict[str, list[str]]:
    names: defaultdict[str, list[str]] = defaultdict(list)
    for name, item in settled.items():
        names[item.question.text].append(name)
    return {text: those for text, those in names.items() if len(those) > 1}
