"""OpinionQA as published by Meister, Guestrin and Hashimoto (2025), arXiv 2411.05403.

SOURCE is the folder with ``opinions_qa`` (human counts and ``info.csv``) and ``results``:

    opinions_qa/data/human_resp/DATASET/{info.csv, POLPARTY_data.json, …}
    results/opinionqa/METHOD/MODEL/TASK/DATASET/ATTRIBUTE/GROUP.json

Letters A, B, … stand for the labels that at least one respondent of the prompted group
chose, in alphabetical order; so the same letter means different options in two groups.
Where the human counts of a group are published its letters are checked against them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any, Final, NamedTuple

from calib.errors import DataError, Fault
from calib.importers import answers
from calib.importers.human_counts import Asked, read_survey
from calib.importers.imported import Imported, broken, checked, entry, numbers, read_json
from calib.importers.letters import Cell, cell_of, labels_of
from calib.survey import Group

SURVEY: Final = "opinionqa"
METHODS: Final = {
    "express_distribution": "verbalized",
    "sequence": "sequence",
    "model_logprobs": "logprob",
}
"""The publication's folders and our word for each elicitation."""
FITTED: Final = "rescaled_model_logprobs"

_PROMPTS: Final = {"task0": "base", "task1": "sd", "task3": "fewshot"}
_EXPECTED: Final = "expected_results"
_SEQUENCE_LENGTH: Final = 30


class _Results(NamedTuple):
    """One result file and what its path says."""

    path: Path
    model: str
    elicitation: str
    prompt: str
    dataset: str
    asked_as: Group
    """The group in the prompt; attribute ``NONE`` where no group was named."""


def read(source: Path, *, methods: Collection[str] | None = None) -> Imported:
    """The publication's OpinionQA results as a paired table.

    Parameters
    ----------
    source
        The folder that holds ``opinions_qa`` and ``results``.
    methods
        Folders of ``METHODS`` to read; all that are there by default.
        ``rescaled_model_logprobs`` was fitted on the human answers: it is refused when
        asked for or when nothing else is there, otherwise left out and counted.

    Returns
    -------
    The table and its counts. ``n_human`` is the plain number of respondents where the
    counts of the group are published, else null. Replies are read from their raw text:
    the publication's own reader cut per cent to whole numbers and stored ``0.35`` as 0.
    An option that was not shown to the model has ``p_llm`` 0. Answers without a group in
    the prompt (``task0``) are repeated for every group whose human answers stand beside
    them. Options that the counts never hold (the publication read the label *None* as a
    missing value) have ``p_human`` 0 and are counted. Left out, with a count: cells that
    nobody was asked in, and cells of groups without published counts whose letters could
    stand for several sets of options.

    Raises
    ------
    DataError
        Where the folder is not of that layout or a file breaks it.
    """
    results = source / "results" / "opinionqa"
    humans = source / "opinions_qa" / "data" / "human_resp"
    _require_layout(source, results, humans)
    chosen = _choose(results, methods)
    counts = Counter({f"{FITTED}_files_left_out": len([*(results / FITTED).rglob("*.json")])})
    files = [file for method in chosen for file in _result_files(results / method, counts)]
    if not files:
        raise broken(
            "results stand in METHOD/MODEL/TASK/DATASET/ATTRIBUTE/GROUP.json",
            f"none with a task of {', '.join(_PROMPTS)} in {', '.join(chosen)}",
            "name the folder that holds the publication's results",
            source,
        )
    surveys: dict[str, dict[str, Asked]] = {}
    for dataset in sorted({file.dataset for file in files}):
        surveys[dataset] = read_survey(humans / dataset)
        counts.update(f"scales_{asked.scaled.origin}" for asked in surveys[dataset].values())
        counts["questions_with_rejoined_labels"] += sum(
            asked.rejoined for asked in surveys[dataset].values()
        )
        counts["options_that_no_counted_respondent_chose"] += sum(
            len(asked.scaled.options) - len(asked.observed) for asked in surveys[dataset].values()
        )
    rows = [row for file in files for row in _rows_of_file(file, surveys[file.dataset], counts)]
    return checked(rows, counts, source)


def _require_layout(source: Path, results: Path, humans: Path) -> None:
    if source.name == FITTED:
        raise _refusal(source)
    found = sorted(path.name for path in (source / "results").glob("*") if path.is_dir())
    if found and not results.is_dir():
        raise broken(
            "of this publication the results on opinionqa are supported",
            f"only {', '.join(found)}",
            "name a folder whose results have opinionqa",
            source,
        )
    for folder in (results, humans):
        if not folder.is_dir():
            raise broken(
                "SOURCE holds results/opinionqa and opinions_qa/data/human_resp",
                f"no {folder.relative_to(source)}",
                "name the folder above results",
                source,
            )


def _refusal(file: Path) -> DataError:
    return broken(
        f"{FITTED} is refused: its temperatures were fitted on the human answers, "
        "so it has seen what a calibrator is to predict",
        FITTED,
        f"import {', '.join(METHODS)} and calibrate on training questions only",
        file,
    )


def _choose(results: Path, methods: Collection[str] | None) -> list[str]:
    there = [path.name for path in sorted(results.iterdir()) if path.is_dir()]
    wanted = [name for name in there if name in METHODS] if methods is None else list(methods)
    if FITTED in wanted or (not wanted and FITTED in there):
        raise _refusal(results)
    unknown = [name for name in wanted if name not in METHODS or name not in there]
    if unknown or not wanted:
        raise broken(
            f"methods are {', '.join(METHODS)}",
            ", ".join(unknown) or f"only {', '.join(there) or 'an empty folder'}",
            "name methods that the results have",
            results,
        )
    return wanted


def _result_files(method: Path, counts: Counter[str]) -> Iterator[_Results]:
    seen: dict[tuple[str, str], str] = {}
    for path in sorted(method.glob("*/*/*/*/*.json")):
        model, task, dataset, attribute, _ = path.relative_to(method).parts
        prompt = _PROMPTS.get(task.partition("_")[0])
        counts["files_of_other_tasks_left_out"] += prompt is None
        if prompt is None:
            continue
        if seen.setdefault((model, prompt), task) != task:
            raise broken(
                f"a model has one task folder of prompt {prompt}",
                f"{seen[model, prompt]} and {task}",
                "move one of them out of the results",
                method / model,
            )
        elicitation = METHODS[method.name]
        group = Group(attribute, path.stem)
        yield _Results(path, model, elicitation, prompt, dataset, group)


def _rows_of_file(
    file: _Results, survey: Mapping[str, Asked], counts: Counter[str]
) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    faults: list[Fault] = []
    content = read_json(file.path)
    for question_id in content:
        try:
            if question_id not in survey:
                raise broken(
                    "each question of the results has human counts",
                    f"none for {question_id}",
                    "fetch opinions_qa and results of the same version",
                )
            given = entry(content, question_id, dict, where="a result file")
            rows += _rows_of_question(file, question_id, given, survey[question_id], counts)
        except DataError as error:
            faults += error.faults
    if faults:
        raise DataError(faults, file=file.path)
    return rows


def _rows_of_question(
    file: _Results, question_id: str, given: Mapping[str, Any], asked: Asked, counts: Counter[str]
) -> Iterator[tuple[object, ...]]:
    cells, shown = _cells(file, question_id, given, asked, counts)
    if not cells or shown is None:
        counts["cells_with_ambiguous_letters_left_out"] += len(cells)
        return
    reading = _reading(file.elicitation, given, len(shown), counts, question_id)
    by_letter = reading.shares or {}
    by_label = dict(zip(shown, by_letter.values(), strict=False))
    counts.update(f"answers_{repair}" for repair in reading.repairs)
    counts["answers_unparsable"] += reading.shares is None
    counts["cells_that_share_a_base_answer"] += len(cells) if file.prompt == "base" else 0
    counts["cells_with_an_option_not_shown"] += len(cells) * (
        len(shown) < len(asked.scaled.options)
    )
    for cell in cells:
        counts["cells_without_published_n"] += cell.n is None
        for option in asked.scaled.options:
            yield (
                SURVEY, question_id, asked.text, asked.scaled.scale, option.index, option.label,
                option.value, option.kind, *cell.group, cell.n, cell.shares.get(option.label, 0.0),
                file.model, file.elicitation, file.prompt,
                "answered" if by_label else "unparsable",
                by_label.get(option.label, 0.0) if by_label else None,
            )  # fmt: skip


def _cells(
    file: _Results, question_id: str, given: Mapping[str, Any], asked: Asked, counts: Counter[str]
) -> tuple[list[Cell], Sequence[str] | None]:
    """The cells that an answer speaks of, and the labels that the model was shown."""
    if file.asked_as.attribute != "NONE":
        beside = {file.asked_as: entry(given, _EXPECTED, dict, where=question_id)}
    else:
        beside = {}
        for name in given:
            if name.startswith(f"{_EXPECTED}_"):
                attribute, _, group_name = name.removeprefix(f"{_EXPECTED}_").partition("_")
                expected = entry(given, name, dict, where=question_id)
                beside[Group(attribute, group_name)] = expected
    cells: list[Cell] = []
    shown: Sequence[str] | None = None
    for group, expected in beside.items():
        letters = numbers(expected, where=f"{question_id}, {group}")
        labels = labels_of(question_id, group, letters, asked)
        # Without a group in the prompt the options are those of the file's name.
        if labels is not None and group.name == file.asked_as.name:
            shown = labels
        if group.attribute == "NONE":
            continue
        if not letters:
            counts["cells_without_respondents_left_out"] += 1
        elif labels is None:
            counts["cells_with_ambiguous_letters_left_out"] += 1
        else:
            cells.append(cell_of(question_id, group, letters, labels, asked))
    return cells, shown or None


def _reading(
    elicitation: str, given: Mapping[str, Any], n: int, counts: Counter[str], question_id: str
) -> answers.Reading:
    letters = ascii_uppercase[:n]
    stored = entry(given, "actual_results", dict, where=question_id)
    if elicitation == "logprob":
        return answers.logprob(stored, letters, question_id)
    replies = entry(given, "response", list, where=question_id)
    if not all(isinstance(reply, str) for reply in replies):
        raise broken(
            f"the replies of {question_id} must be text",
            repr(replies)[:100],
            "fetch the file again",
        )
    if elicitation == "sequence":
        counts[f"sequences_of_other_length_than_{_SEQUENCE_LENGTH}"] += any(
            len(reply) != _SEQUENCE_LENGTH for reply in replies
        )
        return answers.mean([answers.sequence(reply, letters) for reply in replies])
    reading = answers.mean([answers.verbalized(reply, letters) for reply in replies])
    stored_as_zeros = not any(any(shares) for shares in stored.values() if isinstance(shares, list))
    counts["answers_stored_as_zeros_and_recovered"] += (
        reading.shares is not None and stored_as_zeros
    )
    return reading
