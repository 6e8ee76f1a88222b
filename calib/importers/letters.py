"""What the letters of the OpinionQA results stand for, and the human side of their cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Final, NamedTuple

from calib.errors import DataError
from calib.importers.human_counts import Asked
from calib.importers.imported import broken
from calib.survey import Group

_AGREEMENT: Final = 1e-6
"""How far a published share may be from the published counts' own."""


class Cell(NamedTuple):
    """The human side of one group's cell."""

    group: Group
    shares: Mapping[str, float]
    """Of the labels that the group chose."""
    n: float | None
    """Respondents; none where the group's counts are not published."""


def labels_of(
    question_id: str, group: Group, letters: Mapping[str, float], asked: Asked
) -> Sequence[str] | None:
    """The labels that the group's letters stand for, in the letters' order.

    ``None`` where that cannot be known: the group's counts are not published and it has
    fewer letters than the question has labels. ``DataError`` where letters and counts
    contradict each other.
    """
    if list(letters) != list(ascii_uppercase[: len(letters)]):
        raise _misfit(question_id, group, f"letters {''.join(letters)}")
    chosen = asked.chosen.get(group)
    if chosen is None:
        # The group's labels are some of those observed; all of them, if as many.
        return asked.observed if len(letters) == len(asked.observed) else None
    if len(chosen) != len(letters):
        raise _misfit(question_id, group, f"{len(letters)} letters for {len(chosen)} options")
    return sorted(chosen)


def cell_of(
    question_id: str,
    group: Group,
    letters: Mapping[str, float],
    labels: Sequence[str],
    asked: Asked,
) -> Cell:
    """The group's human shares, from its counts where they are published.

    ``DataError`` where the published shares are not those of the counts, in which case the
    letters do not stand for ``labels``.
    """
    shares = dict(zip(labels, letters.values(), strict=True))
    chosen = asked.chosen.get(group)
    if chosen is None:
        return Cell(group, shares, None)
    n = sum(chosen.values())
    exact = {label: count / n for label, count in chosen.items()}
    if max(abs(exact[label] - shares[label]) for label in labels) > _AGREEMENT:
        raise _misfit(question_id, group, f"shares {letters} for counts {dict(chosen)}")
    return Cell(group, exact, n)


def _misfit(question_id: str, group: Group, value: str) -> DataError:
    return broken(
        "letters stand for the labels that the group chose, in alphabetical order",
        f"{value} in {question_id}, {group}",
        "fetch opinions_qa and results of the same version",
    )
