"""What is known of questions before prediction: their toplines, and how groups make them up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from calib.errors import CalibError
from calib.opinions import Index, Opinions, close
from calib.paired import Counts, Paired
from calib.survey import Group


class Anchors(NamedTuple):
    """Toplines of the questions of an index, and how their groups make them up."""

    topline: Float[np.ndarray, "question option"]
    """Shares of all respondents; NaN where they are not known."""
    n: Float[np.ndarray, " question"]
    """Respondents behind them; NaN where the topline is taken as exact."""
    weight: Float[np.ndarray, " row"]
    """Of each row in its question, with sum one there; see ``group_weights``."""

    @property
    def known(self) -> Bool[np.ndarray, " question"]:
        """Questions that have a topline."""
        return ~np.isnan(self.topline).any(axis=1)

    def take(self, questions: Int[np.ndarray, " taken"], rows: Int[np.ndarray, " cell"]) -> Anchors:
        """Those of some questions, which have the given rows."""
        return Anchors(self.topline[questions], self.n[questions], self.weight[rows])


def respondents_by_group(training: Paired) -> dict[Group, float]:
    """Mean ``n_human`` of each group over its training questions; NaN where none is known."""
    index = training.index
    n = np.full(len(index), np.nan) if training.human.n is None else training.human.n
    means = {}
    for number, group in enumerate(index.groups):
        known = n[(index.group_of_row == number) & ~np.isnan(n)]
        means[group] = float(known.mean()) if len(known) else np.nan
    return means


def anchors_of(
    index: Index, toplines: Opinions, respondents: Mapping[Group, float]
) -> tuple[Anchors, Counts]:
    """Toplines and weights of groups over an index, and what had to be assumed.

    Parameters
    ----------
    index
        Rows that will be predicted.
    toplines
        From ``calib.toplines``: one row a question. Those of other questions are ignored.
    respondents
        Mean respondents of the groups seen in training; NaN where not known.

    Raises
    ------
    CalibError
        Where a question has other options in the toplines than in the index.
    """
    offered = np.zeros((len(index.questions), index.mask.shape[1]), dtype=bool)
    np.logical_or.at(offered, index.question_of_row, index.mask)
    given, n = by_question(toplines, index)
    shortened = ~np.isnan(given).any(axis=1) & (np.where(offered, 0.0, given).sum(axis=1) > 0)
    weight, assumed = group_weights(index, respondents)
    anchors = Anchors(close(given, offered), n, weight)
    anchored = anchors.known[index.question_of_row]
    counts = {
        "questions_anchored": int(anchors.known.sum()),
        "questions_without_topline": int((~anchors.known).sum()),
        "questions_anchored_without_all_groups": int(
            (anchors.known & _lacks_groups(index, [*respondents])).sum()
        ),
        "toplines_closed_over_offered_options": int(shortened.sum()),
        "anchored_rows_of_assumed_weight": int((anchored & assumed).sum()),
    }
    return anchors, counts


def by_question(
    toplines: Opinions, index: Index
) -> tuple[Float[np.ndarray, "question option"], Float[np.ndarray, " question"]]:
    """Topline and its respondents for each question of an index; NaN where there are none.

    ``CalibError`` where a question has other options in the toplines than in the index.
    """
    shape = (len(index.questions), index.mask.shape[1])
    shares, n = np.full(shape, np.nan), np.full(shape[0], np.nan)
    asked = [toplines.index.questions[number] for number in toplines.index.question_of_row]
    row_of = {question.key: row for row, question in enumerate(asked)}
    for number, question in enumerate(index.questions):
        row = row_of.get(question.key)
        if row is None:
            continue
        if asked[row].options != question.options:
            raise CalibError(
                "a question has the same options in its topline and where it was elicited; "
                f"{'/'.join(question.key)} has others; read the toplines with its table"
            )
        size = len(question.options)
        shares[number] = 0.0
        shares[number, :size] = toplines.probs[row, :size]
        n[number] = np.nan if toplines.n is None else toplines.n[row]
    return shares, n


def group_weights(
    index: Index, respondents: Mapping[Group, float]
) -> tuple[Float[np.ndarray, " row"], Bool[np.ndarray, " row"]]:
    """How much each row counts in the mean of its question, and where that was assumed.

    Each attribute of the question's groups counts alike, for each divides the same people;
    within an attribute groups count by their respondents. A group whose respondents are not
    known is taken for the mean of those of its attribute, of all groups where none of these
    is known, and groups count alike where none is known at all.
    """
    known = {group: n for group, n in respondents.items() if not np.isnan(n)}
    size = np.empty(len(index.groups))
    for number, group in enumerate(index.groups):
        alike = [n for one, n in known.items() if one.attribute == group.attribute]
        size[number] = known.get(group, np.mean(alike or [*known.values()] or 1.0))
    attributes = sorted({group.attribute for group in index.groups})
    of_group = np.array([attributes.index(group.attribute) for group in index.groups])
    at = (index.question_of_row, of_group[index.group_of_row])
    total = np.zeros((len(index.questions), len(attributes)))
    np.add.at(total, at, size[index.group_of_row])
    n_attributes = (total > 0).sum(axis=1)[index.question_of_row]
    assumed = np.array([group not in known for group in index.groups])
    return size[index.group_of_row] / (total[at] * n_attributes), assumed[index.group_of_row]


def _lacks_groups(index: Index, seen: list[Group]) -> Bool[np.ndarray, " question"]:
    """Questions with some but not all training groups of an attribute.

    The mean of what is there need not be the topline of all.
    """
    lacks = np.zeros(len(index.questions), dtype=bool)
    for number in range(len(index.questions)):
        there = {
            index.groups[place] for place in index.group_of_row[index.question_of_row == number]
        }
        asked = {group.attribute for group in there}
        lacks[number] = any(group.attribute in asked and group not in there for group in seen)
    return lacks
