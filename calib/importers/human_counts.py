"""Human answers of the OpinionQA layout: respondents by question, group and label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calib.errors import DataError, Fault
from calib.importers.imported import broken, entry, numbers, read_json
from calib.importers.scales import Scaled, guess, read_info
from calib.survey import Group

_SUFFIX = "_data.json"
_NOT_GROUPS = ("MC_options", "question_text")


@dataclass(frozen=True)
class Asked:
    """A question as people were asked it."""

    text: str
    scaled: Scaled
    chosen: Mapping[Group, Mapping[str, float]]
    """Respondents by label; a label that nobody of the group chose is not there."""
    observed: tuple[str, ...]
    """All labels that somebody chose, in alphabetical order."""
    rejoined: bool
    """Whether published labels had been cut at their commas."""


def read_survey(folder: Path) -> dict[str, Asked]:
    """The questions of a ``human_resp`` folder, by id.

    Scales come from ``info.csv``; for questions that it lacks they are guessed from the
    listed options (``scales.guess``), and ``Asked.scaled.origin`` says so.

    Raises
    ------
    DataError
        With the faults of the first file that has any.
    """
    files = sorted(folder.glob(f"*{_SUFFIX}"))
    if not files:
        raise broken(
            f"human answers stand in files *{_SUFFIX}",
            "none" if folder.is_dir() else "no such folder",
            "fetch the folder human_resp of the same data set as the results",
            folder,
        )
    info = folder / "info.csv"
    published = read_info(info)
    listed: dict[str, tuple[str, list[str]]] = {}
    chosen: dict[str, dict[Group, dict[str, float]]] = {}
    for file in files:
        attribute = file.name.removesuffix(_SUFFIX)
        faults: list[Fault] = []
        content = read_json(file)
        for question_id in content:
            try:
                given = entry(content, question_id, dict, where=file.name)
                options = _options(given, question_id)
                if listed.setdefault(question_id, options) != options:
                    raise broken(
                        "all attributes list the same question and options",
                        f"others for {question_id}",
                        "fetch files of the same version",
                    )
                chosen.setdefault(question_id, {}).update(_groups(attribute, given, question_id))
            except DataError as error:
                faults += error.faults
        if faults:
            raise DataError(faults, file=file)
    try:
        return {
            question_id: _asked(question_id, *listed[question_id], chosen[question_id], published)
            for question_id in listed
        }
    except DataError as error:
        raise error.in_file(folder) from None


def _options(given: Mapping[str, Any], question_id: str) -> tuple[str, list[str]]:
    text = entry(given, "question_text", str, where=question_id)
    options = entry(given, "MC_options", list, where=question_id)
    return text, [str(option) for option in options]


def _groups(
    attribute: str, given: Mapping[str, Any], question_id: str
) -> dict[Group, dict[str, float]]:
    groups: dict[Group, dict[str, float]] = {}
    for name in given:
        if name not in _NOT_GROUPS:
            where = f"{question_id}, {attribute}: {name}"
            counts = numbers(entry(given, name, dict, where=where), where=where)
            groups[Group(attribute, name)] = {
                label: count for label, count in counts.items() if count > 0
            }
    return groups


def _asked(
    question_id: str,
    text: str,
    listed: Sequence[str],
    chosen: Mapping[Group, Mapping[str, float]],
    published: Mapping[str, Scaled],
) -> Asked:
    observed = tuple(sorted({label for counts in chosen.values() for label in counts}))
    labels = _rejoin(listed, set(observed))
    scaled = published.get(question_id) or guess(labels)
    known = {option.label for option in scaled.options}
    strange = [label for label in observed if label not in known]
    if strange:
        raise broken(
            "every label that was chosen is one of the question's options",
            f"{strange[0]!r} in {question_id}, whose options are {', '.join(sorted(known))}",
            "fetch info.csv and the counts of the same version",
        )
    return Asked(text, scaled, chosen, observed, rejoined=list(labels) != list(listed))


def _rejoin(listed: Sequence[str], observed: set[str]) -> list[str]:
    """Labels that were cut at their commas, or quoted, as they stand in the counts."""
    labels: list[str] = []
    start = 0
    while start < len(listed):
        stop = start + 1
        label = listed[start].strip('"')
        for end in range(len(listed), start + 1, -1):
            joined = ", ".join(listed[start:end]).strip('"')
            if joined in observed:
                stop, label = end, joined
                break
        labels.append(label)
        start = stop
    return labels
