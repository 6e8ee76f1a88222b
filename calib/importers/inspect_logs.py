"""Logs of Inspect, the evaluation framework of the UK AI Security Institute.

SOURCE is one log in the JSON format (``--log-format json``, or ``inspect log convert`` for
``.eval`` files) or a folder of them. Each sample with ``choices`` is a question,
each epoch an answer: the ``answer`` of its score, a letter for the scorer ``choice``. Inspect
has mapped letters back to the sample's own order where the solver shuffled choices. Read
against inspect_ai 0.3.285, log version 2.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any, Final, NamedTuple

from calib.errors import DataError, Fault
from calib.importers.given import Asked, Given
from calib.importers.imported import Imported, broken, entry, read_json
from calib.importers.individual import ELICITATION, groups_of, prompt_for, tabulate
from calib.importers.published import NOTHING, read_published
from calib.survey import Group, Outcome, QuestionKey, Setting

SCORER: Final = "choice"
"""The scorer of Inspect whose answers are letters."""


def read(
    source: Path,
    *,
    scales: Path | None = None,
    survey: str | None = None,
    groups: Sequence[str] = (),
    prompt: str | None = None,
) -> Imported:
    """Inspect logs as a paired table.

    A question's id and wording are ``question_id`` and ``question`` in the metadata of its
    samples, else the sample's id and the last message of its input. Scales are guessed from
    the order of the choices (``scales.guess``) where ``scales`` lacks the question. A sample
    that failed counts as failed, one without a readable answer as unparsable, or as refused
    where the provider filtered it. Left out and counted: samples without choices, answers of
    several choices, samples that a retried log has again, files of a folder that are no logs.

    Parameters
    ----------
    source
        A log, or a folder with logs.
    scales
        A table of options, with human answers or without (``published.read_published``).
    survey
        By default the only survey of ``scales``, else the name of the log's data set.
    groups
        Names in the samples' metadata that tell groups apart; without them all samples are of
        the group *all*.
    prompt
        By default ``sd``, and ``base`` without groups.

    Raises
    ------
    DataError
        With all faults of the first log that has any.
    """
    published = NOTHING if scales is None else read_published(scales)
    counts: Counter[str] = Counter()
    samples = _samples(source, counts)
    known = {name for sample in samples for name in _metadata(sample.content)}
    unknown = [name for name in groups if name not in known]
    if unknown:
        raise broken(
            "groups are names in the metadata of samples",
            f"{', '.join(unknown)} besides {', '.join(sorted(known)) or 'none'}"[:500],
            "put what tells groups apart into the samples' metadata",
            source,
        )
    given: list[Given] = []
    faults: dict[Path, list[Fault]] = {}
    for sample in samples:
        of = groups_of(_metadata(sample.content), groups, counts)
        setting = Setting(sample.model, ELICITATION, prompt_for(groups, prompt))
        name = survey or published.survey or sample.dataset
        # A row number says nothing without its file.
        row = None if source.is_dir() else sample.row
        try:
            given += _given(sample.content, name, row, of, setting, counts)
        except DataError as error:
            faults.setdefault(sample.file, []).extend(
                Fault(one.rule, one.value, one.remedy, rows=(sample.row,)) for one in error.faults
            )
    for file, found in faults.items():
        raise DataError(found, file=file)
    return tabulate(given, published, counts, source)


class _Sample(NamedTuple):
    """A sample of an epoch, and what its log says of it."""

    file: Path
    row: int
    model: str
    dataset: str
    content: Mapping[str, Any]


def _samples(source: Path, counts: Counter[str]) -> list[_Sample]:
    """All samples; of those that a retried log has again, the last."""
    samples: dict[tuple[object, ...], _Sample] = {}
    for file in _files(source):
        content = read_json(file)
        if not {"eval", "version"} <= content.keys():
            if not source.is_dir():
                raise broken(
                    "an Inspect log has eval, version and samples",
                    f"an object with {', '.join(content)}"[:200],
                    "name a log in the JSON format",
                    file,
                )
            counts["files_that_are_no_log_left_out"] += 1
            continue
        counts["logs"] += 1
        counts["logs_not_finished"] += content.get("status") != "success"
        try:
            run = entry(content, "eval", dict, where="a log")
            model = entry(run, "model", str, where="eval")
            dataset = str(entry(run, "dataset", dict, where="eval").get("name") or file.stem)
            listed = entry(content, "samples", list, where="a log")
            for row, sample in enumerate(listed):
                if not isinstance(sample, dict):
                    raise broken("a sample is an object", repr(sample)[:80], "write the log again")
                # A retried evaluation keeps its task's id and takes over what was done.
                task = run.get("task_id") or file
                identity = (task, str(sample.get("id")), sample.get("epoch"))
                counts["samples_of_earlier_tries_left_out"] += identity in samples
                samples[identity] = _Sample(file, row, model, dataset, sample)
        except DataError as error:
            raise error.in_file(file) from None
    return list(samples.values())


def _files(source: Path) -> list[Path]:
    files = sorted(source.rglob("*.json")) if source.is_dir() else [source]
    if not files or source.suffix == ".eval" or not files[0].exists():
        raise broken(
            "SOURCE is an Inspect log in the JSON format or a folder with some",
            source.name if source.exists() else "no such file or folder",
            "convert logs with: inspect log convert LOG --to json --output-dir DIR",
            source,
        )
    return files


def _metadata(sample: Mapping[str, Any]) -> dict[str, Any]:
    found = sample.get("metadata")
    return found if isinstance(found, dict) else {}


def _given(
    sample: Mapping[str, Any],
    survey: str,
    row: int | None,
    groups: tuple[Group, ...],
    setting: Setting,
    counts: Counter[str],
) -> Iterator[Given]:
    """The sample's answer; nothing where it is left out."""
    choices = sample.get("choices")
    if not choices:
        counts["samples_without_choices_left_out"] += 1
        return
    if not isinstance(choices, list) or not all(isinstance(one, str) for one in choices):
        raise broken("choices are a list of texts", repr(choices)[:100], "write the log again")
    about = _metadata(sample)
    asked = Asked(
        QuestionKey(survey, str(about.get("question_id") or sample.get("id"))),
        str(about.get("question") or _text(sample.get("input"))),
        tuple(choice.strip() for choice in choices),
    )
    answer, outcome = _answer(sample, choices)
    if outcome == "several":
        counts["answers_of_several_choices_left_out"] += 1
        return
    yield Given(row, asked, groups, setting, answer, outcome)


def _text(shown: object) -> str:
    """What the model was shown: the text, or that of the last message of a chat."""
    if isinstance(shown, list) and shown:
        last = shown[-1]
        content = last.get("content") if isinstance(last, dict) else last
        if isinstance(content, list):
            parts = [part.get("text") for part in content if isinstance(part, dict)]
            content = "\n".join(part for part in parts if isinstance(part, str))
        return str(content or "")
    return shown if isinstance(shown, str) else ""


def _answer(sample: Mapping[str, Any], choices: Sequence[str]) -> tuple[str, Any]:
    """The label that was chosen and ``answered``, or why there is none."""
    scores = sample.get("scores")
    if not isinstance(scores, dict) or not scores:
        if sample.get("error"):
            return "", "failed"
        raise broken(
            "a sample that was answered has a score",
            f"none for sample {sample.get('id')}, epoch {sample.get('epoch')}",
            "score the log with: inspect score --scorer choice",
        )
    name = SCORER if SCORER in scores else next(iter(scores))
    if name != SCORER and len(scores) > 1:
        raise broken(
            f"the scorer {SCORER}, or the only one, tells the answer",
            ", ".join(scores),
            f"score the log with: inspect score --scorer {SCORER}",
        )
    score = scores[name] if isinstance(scores[name], dict) else {}
    answer = str(score.get("answer") or "").strip()
    if not answer:
        return "", _silent(sample)
    if name != SCORER and answer in [choice.strip() for choice in choices]:
        return answer, "answered"
    letters = [letter.strip() for letter in answer.split(",")]
    known = dict(zip([*ascii_uppercase, *map(str, range(1, len(choices)))], choices, strict=False))
    if len(letters) > 1 and all(letter in known for letter in letters):
        return "", "several"
    if answer not in known:
        raise broken(
            "an answer is the letter of a choice",
            f"{answer[:80]!r} with {len(choices)} choices, sample {sample.get('id')}, "
            f"epoch {sample.get('epoch')}",
            "score the log with the scorer choice, or correct the answer",
        )
    return known[answer], "answered"


def _silent(sample: Mapping[str, Any]) -> Outcome:
    output = sample.get("output")
    replies = output.get("choices") if isinstance(output, dict) else None
    last = replies[0] if isinstance(replies, list) and replies else {}
    filtered = isinstance(last, dict) and last.get("stop_reason") == "content_filter"
    return "refused" if filtered else "unparsable"
