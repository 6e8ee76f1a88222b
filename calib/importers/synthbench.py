"""SynthBench result files: an LLM asked each question many times, without a persona.

SOURCE is one result file or a folder of them (``*.json``), one file a model, each with
``config`` and ``per_question``. The files give labels in listed order and the shares of
people and model; they do not say which questions are nominal, which codes the options
have, or how many people were asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from calib.errors import DataError, Fault
from calib.importers.answers import closed
from calib.importers.imported import Imported, broken, checked, entry, numbers, read_json
from calib.importers.scales import Scaled, guess, kind_of, read_info
from calib.opinions import SUM_TOLERANCE

ELICITATION: Final = "self_random"
PROMPT: Final = "base"
ATTRIBUTE: Final = "NATION"


class _Dataset(NamedTuple):
    survey: str
    group: str


KNOWN: Final = {"opinionsqa": _Dataset("opinionqa_synthbench", "US adults")}
"""Our survey and its population, by the files' ``config.dataset``; others are ``all``."""


def read(source: Path, *, scales: Path | None = None) -> Imported:
    """SynthBench results as a paired table with one group, the whole population.

    Parameters
    ----------
    source
        A result file, or a folder whose ``*.json`` are result files of different models.
    scales
        An OpinionQA ``info.csv``: order, values and kinds for the questions that it has.

    Returns
    -------
    The table and its counts. ``n_human`` is null: the files do not tell it. Questions that
    ``scales`` lacks, or whose labels differ there, have a guessed scale: **ordinal** in the
    listed order by default, which is wrong for every nominal question among them (see
    ``scales.guess`` for the rule and ``questions_with_guessed_scale`` for how many). Model
    refusals are shares of the option *Refused* where the file lists it. A question in which
    every sample failed is ``unparsable``; questions with fewer than two answers besides
    refusals are left out, with a count.

    Raises
    ------
    DataError
        Where a file is not a result file, breaks its layout or repeats a model.
    """
    files = _files(source)
    published = {} if scales is None else read_info(scales)
    counts: Counter[str] = Counter()
    rows: list[tuple[object, ...]] = []
    file_of: dict[tuple[str, str], Path] = {}
    origin_of: dict[tuple[str, str], str] = {}
    for file in files:
        content = read_json(file)
        try:
            dataset, model = _config(content)
            first = file_of.setdefault((dataset, model), file)
            if first is not file:
                raise broken(
                    "a model has one result file of a data set",
                    f"{first.name} and {file.name} for {model}",
                    "move one of them out of the folder",
                )
            counts["files_of_unknown_population"] += dataset not in KNOWN
            counts["demographic_breakdowns_left_out"] += bool(content.get("demographic_breakdown"))
            rows += _rows(content, dataset, model, published, counts, origin_of)
        except DataError as error:
            raise error.in_file(file) from None
    counts.update(f"scales_{origin}" for origin in origin_of.values())
    counts["questions_with_guessed_scale"] = sum(
        origin != "published" for origin in origin_of.values()
    )
    counts["cells_without_published_n"] = counts["answers"]
    return checked(rows, counts, source)


def _files(source: Path) -> list[Path]:
    files = sorted(source.glob("*.json")) if source.is_dir() else [source]
    if not files or not files[0].exists():
        raise broken(
            "SOURCE is a SynthBench result file or a folder with some",
            "a folder without *.json" if source.is_dir() else "no such file or folder",
            "name the file or the folder that holds them",
            source,
        )
    return files


def _config(content: Mapping[str, Any]) -> tuple[str, str]:
    if content.get("benchmark") != "synthbench":
        raise broken(
            "a result file says benchmark: synthbench",
            repr(content.get("benchmark")),
            "name SynthBench result files only",
        )
    config = entry(content, "config", dict, where="a result file")
    dataset = entry(config, "dataset", str, where="config")
    provider = entry(config, "provider", str, where="config")
    model = provider.rstrip("/").rpartition("/")[2]
    if not dataset or not model:
        raise broken(
            "config names the data set and the provider of the model",
            f"{dataset!r}, {provider!r}",
            "fill them in",
        )
    return dataset, model


def _rows(
    content: Mapping[str, Any],
    dataset: str,
    model: str,
    published: Mapping[str, Scaled],
    counts: Counter[str],
    origin_of: dict[tuple[str, str], str],
) -> Iterator[tuple[object, ...]]:
    known = KNOWN.get(dataset, _Dataset(f"{dataset}_synthbench", "all"))
    faults: list[Fault] = []
    for number, question in enumerate(
        entry(content, "per_question", list, where="a result file"), start=1
    ):
        try:
            if not isinstance(question, dict):
                raise broken("a question is an object", repr(question)[:80], "fetch the file again")
            key = entry(question, "key", str, where=f"question {number} of per_question")
            text = entry(question, "text", str, where=key)
            labels = _labels(question, key)
            if sum(kind_of(label) == "substantive" for label in labels) < 2:
                counts["questions_with_fewer_than_two_answers_left_out"] += 1
                continue
            human, rounded = _human(question, key, labels)
            counts["human_cells_rounded_and_renormalised"] += rounded
            llm = _llm(question, key, labels, counts)
            scaled = published.get(key)
            if scaled is not None and {option.label for option in scaled.options} != set(labels):
                counts["published_scales_with_other_labels_not_used"] += 1
                scaled = None
            scaled = scaled or guess(labels)
        except DataError as error:
            faults += error.faults
            continue
        counts["answers"] += 1
        origin_of[known.survey, key] = scaled.origin
        for option in scaled.options:
            yield (
                known.survey, key, text, scaled.scale, option.index, option.label,
                option.value, option.kind, ATTRIBUTE, known.group, None, human[option.label],
                model, ELICITATION, PROMPT, "unparsable" if llm is None else "answered",
                None if llm is None else llm[option.label],
            )  # fmt: skip
    if faults:
        raise DataError(faults)


def _labels(question: Mapping[str, Any], key: str) -> list[str]:
    labels: list[str] = entry(question, "options", list, where=key)
    if not all(isinstance(label, str) for label in labels) or len(set(labels)) < len(labels):
        raise broken(
            f"the options of {key} are distinct labels", repr(labels)[:200], "correct the options"
        )
    return labels


def _distribution(
    question: Mapping[str, Any], name: str, key: str, labels: list[str]
) -> dict[str, float]:
    where = f"{name} of {key}"
    given = numbers(entry(question, name, dict, where=key), where=where)
    strange = [label for label in given if label not in labels]
    if strange:
        raise broken(
            f"{where} is over the listed options",
            f"{strange[0]!r} besides {', '.join(labels)}",
            "add the option to the list or remove its share",
        )
    return {label: given.get(label, 0.0) for label in labels}


def _human(
    question: Mapping[str, Any], key: str, labels: list[str]
) -> tuple[dict[str, float], bool]:
    """The human shares, and whether rounding to four places had to be divided out."""
    shares = _distribution(question, "human_distribution", key, labels)
    total = sum(shares.values())
    if abs(total - 1) > SUM_TOLERANCE:
        raise broken(
            f"the human shares of {key} sum to one", f"{total:.6g}", "add the missing options"
        )
    rounded = abs(total - 1) > 1e-9
    return {label: share / total if rounded else share for label, share in shares.items()}, rounded


def _llm(
    question: Mapping[str, Any], key: str, labels: list[str], counts: Counter[str]
) -> dict[str, float] | None:
    """Shares of the samples; none where every sample failed, whatever the file filled in."""
    asked = entry(question, "n_samples", int, where=key)
    failed = entry(question, "n_parse_failures", int, where=key)
    if not 0 <= failed <= asked:
        raise broken(
            f"of the samples of {key} some or none failed",
            f"{failed} of {asked}",
            "correct n_samples and n_parse_failures",
        )
    counts["samples_that_could_not_be_parsed"] += failed
    reading = closed(_distribution(question, "model_distribution", key, labels))
    if failed == asked or reading.shares is None:
        counts["answers_unparsable"] += 1
        return None
    counts.update(f"answers_{repair}" for repair in reading.repairs)
    return reading.shares
