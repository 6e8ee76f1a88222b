"""Where people and an LLM were offered the same options, and what to do where not quite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pandas as pd

from calib.errors import Fault
from calib.rules import CELL_KEY, OPTION_KEY, QUESTION_KEY

_ASKED: Final = [*QUESTION_KEY, "scale", "option_index", "option", "option_value", "option_kind"]


def faults_of_options(human: pd.DataFrame, elicited: pd.DataFrame) -> list[Fault]:
    """What differs in the questions that both tables have, with the rows of ``elicited``."""
    own = _options(human).rename(columns=lambda name: name if name in OPTION_KEY else f"h_{name}")
    rows = elicited[_ASKED].reset_index(names="row")
    rows = rows[rows["option_kind"] == "substantive"]
    known = human[QUESTION_KEY].drop_duplicates()
    rows = rows.merge(known, on=QUESTION_KEY)
    both = rows.merge(own[own["h_option_kind"] == "substantive"], on=OPTION_KEY, how="left")
    absent = both["h_option"].isna()
    faults = [*_differing(both, absent)]
    # Answers that people had and the LLM was not offered.
    offered = rows[OPTION_KEY].drop_duplicates().assign(offered=True)
    theirs = own[own["h_option_kind"] == "substantive"].merge(
        rows[QUESTION_KEY].drop_duplicates(), on=QUESTION_KEY
    )
    theirs = theirs.merge(offered, on=OPTION_KEY, how="left")
    for _, one in theirs[theirs["offered"].isna()].iterrows():
        mine = rows[(rows[QUESTION_KEY] == one[QUESTION_KEY].to_list()).all(axis=1)]
        faults.append(
            _fault(
                "the LLM was offered every answer that people had",
                f"{one['survey']}/{one['question_id']} without {one['option_index']}: "
                f"{one['h_option']!r}",
                "option",
                mine["row"],
            )
        )
    return faults


def settled_shares(
    human: pd.DataFrame, elicited: pd.DataFrame
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Human shares of the options that the LLM was offered, and what was done to get them.

    Returns
    -------
    One row a cell and option with ``p_human`` and ``n_human``, and counts.
    """
    key = [*CELL_KEY, "option_index"]
    offered = elicited.drop_duplicates(key)[[*key, "option", "option_kind"]]
    answers = human["option_kind"] == "substantive"
    sizes = human.drop_duplicates(CELL_KEY)[[*CELL_KEY, "n_human"]]
    cells = offered.merge(sizes, on=CELL_KEY)
    chosen = cells["option_kind"] == "substantive"
    substantive = cells[chosen].merge(human.loc[answers, [*key, "p_human"]], on=key, how="left")
    rest = cells[~chosen].merge(
        human.loc[~answers, [*CELL_KEY, "option", "p_human"]],
        on=[*CELL_KEY, "option"],
        how="left",
    )
    found = pd.concat([substantive, rest], ignore_index=True)
    unknown = found["p_human"].isna()
    found["p_human"] = found["p_human"].fillna(0.0)
    mass = found.groupby(CELL_KEY, sort=False)["p_human"].transform("sum")
    total = human.groupby(CELL_KEY, sort=False)["p_human"].sum().rename("total")
    found = found.merge(total.reset_index(), on=CELL_KEY, how="left")
    kept = (mass / found["total"]).to_numpy()
    lost = kept < 1 - 1e-12
    with np.errstate(invalid="ignore", divide="ignore"):
        found["p_human"] = np.where(lost, found["p_human"] / mass, found["p_human"])
    found["n_human"] = np.where(lost, found["n_human"] * kept, found["n_human"])
    empty = (mass == 0).to_numpy()
    first = ~found.duplicated(CELL_KEY).to_numpy()
    counts = {
        "cells_with_no_answer_dropped_and_rest_renormalised": int((lost & first & ~empty).sum()),
        "cells_of_people_without_any_answer_left": int((empty & first).sum()),
        "shares_0_of_options_that_only_the_llm_was_offered": int(unknown.sum()),
    }
    return found.loc[~empty, [*key, "p_human", "n_human"]], counts


def _options(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[_ASKED].drop_duplicates(OPTION_KEY)


def _differing(both: pd.DataFrame, absent: pd.Series) -> Iterator[Fault]:
    def told(
        bad: pd.Series, rule: str, column: str, key: Sequence[str] = OPTION_KEY
    ) -> Iterator[Fault]:
        for which, rows in both[bad].groupby(list(key), sort=False):
            one = rows.iloc[0]
            theirs = "none" if absent[rows.index[0]] else repr(one[f"h_{column}"])
            yield _fault(
                rule,
                f"{'/'.join(map(str, which))}: {theirs} of people, {one[column]!r} of the LLM",
                column,
                rows["row"],
            )

    there = ~absent
    yield from told(absent, "people had every answer that the LLM was offered", "option")
    other = there & (both["scale"] != both["h_scale"])
    yield from told(other, "scale is the same on both sides", "scale", QUESTION_KEY)
    other = there & (both["option"] != both["h_option"])
    yield from told(other, "option is the same on both sides", "option")
    mine, theirs = both["option_value"], both["h_option_value"]
    # A binary scale needs no values, so one side may lack them.
    one_lacks = (mine.isna() != theirs.isna()) & (both["scale"] == "ordinal")
    other = there & (((mine - theirs).abs() > 1e-9) | one_lacks)
    yield from told(other, "option_value is the same on both sides", "option_value")


def _fault(rule: str, value: str, column: str, rows: pd.Series) -> Fault:
    remedy = (
        "code the survey as it was asked: order, labels and scale in a coding file, or ask again"
    )
    return Fault(rule, value, remedy, column, tuple(rows.tolist()))
