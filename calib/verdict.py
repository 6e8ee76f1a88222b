"""What an evaluation says in plain words: what calibration gained, and what the LLM."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import pandas as pd

from calib.summary import Difference, clustered_difference

REFERENCES: Final = ("identity", "uniform", "train-mean")
"""What every calibrator is compared with; none of them is calibration by the LLM's answers."""

NEGLIGIBLE: Final = 0.05
"""A share of the gap below this counts as nothing."""

SCORES: Final[Mapping[str, str]] = {"w1": "W1", "kl_1e3": "KL"}

Finding = Literal["adds", "nothing", "unclear", "harms", "unknown"]


@dataclass(frozen=True)
class Verdict:
    """What one setting's rows say."""

    best: str
    """The calibrator with the lowest W1; a reference only where there is nothing else."""
    finding: Finding
    """What the LLM added to the train mean, on W1."""
    headline: str
    sentences: tuple[str, ...]


def number(value: object) -> float:
    """A score as written in JSON; NaN where it is null."""
    return float(value) if isinstance(value, int | float) else math.nan


def clustered_mean(values: pd.Series, questions: pd.Series, *, seed: int) -> Difference:
    """Mean over cells and its 95 % bootstrap interval, resampling whole questions.

    NaN cells are left out; with fewer than two questions the interval is NaN.
    """
    known = values.notna().to_numpy()
    if not known.any():
        return Difference(math.nan, math.nan, math.nan)
    question = pd.factorize(questions[known], sort=True)[0]
    found = clustered_difference(values[known].to_numpy(float), question, seed=seed)
    return found if question.max() > 0 else Difference(found.mean, math.nan, math.nan)


def best_calibrator(rows: Sequence[Mapping[str, Any]]) -> str:
    """The name with the lowest W1 among calibrators proper; among all where there are none."""
    proper = [row for row in rows if row["calibrator"] not in REFERENCES] or list(rows)
    return str(min(proper, key=_by_w1)["calibrator"])


def difference(
    a: str,
    b: str,
    score: str,
    differences: Sequence[Mapping[str, Any]],
    cells: pd.DataFrame,
    seed: int,
) -> Difference | None:
    """Mean of a minus b as reported, else from the cells; None where one of them is absent."""
    for one in differences:
        if one["score"] == score and {one["a"], one["b"]} == {a, b}:
            mean, low, high = (number(one[name]) for name in ("mean", "lo", "hi"))
            return Difference(mean, low, high) if one["a"] == a else Difference(-mean, -high, -low)
    key = ["survey", "question_id", "attribute", "group"]
    sides = [cells[cells["calibrator"] == name].set_index(key)[score] for name in (a, b)]
    if a == b or any(side.empty for side in sides):
        return None
    gap = (sides[0] - sides[1]).rename("gap").reset_index()
    question = gap["survey"].astype(str) + "\x1f" + gap["question_id"].astype(str)
    return clustered_mean(gap["gap"], question, seed=seed)


def finding_of(against_train_mean: Difference | None, llm_share: float) -> Finding:
    """What the LLM added beyond the human base rate.

    ``harms`` and ``adds`` need an interval that excludes zero; where it includes zero,
    a share below ``NEGLIGIBLE`` is ``nothing`` and a larger one is ``unclear``.
    """
    if against_train_mean is None or math.isnan(against_train_mean.mean):
        return "unknown"
    if against_train_mean.low > 0:
        return "harms"
    small = llm_share < NEGLIGIBLE if not math.isnan(llm_share) else against_train_mean.mean >= 0
    if small:
        return "nothing"
    return "adds" if against_train_mean.high < 0 else "unclear"


def verdict(
    rows: Sequence[Mapping[str, Any]],
    differences: Sequence[Mapping[str, Any]],
    cells: pd.DataFrame,
    seed: int,
) -> Verdict:
    """The verdict on one setting; all arguments are of that setting only."""
    by_name = {str(row["calibrator"]): row for row in rows}
    best = best_calibrator(rows)
    row = by_name[best]
    sentences = [_standing(best, by_name)]
    if best in REFERENCES:
        headline = "No calibrator was evaluated here, only references."
        return Verdict(best, "unknown", headline, tuple(sentences))
    findings: dict[str, Finding] = {}
    against_raw: dict[str, Difference | None] = {}
    for score, label in SCORES.items():
        gap = difference(best, "train-mean", score, differences, cells, seed)
        share = number(row.get(f"llm_share_{score}"))
        findings[score] = finding_of(gap, share)
        sentences.append(_beyond_train_mean(best, label, gap, share, findings[score]))
        raw = against_raw[score] = difference(best, "identity", score, differences, cells, seed)
        if raw is not None:
            sentences.append(_against_raw(best, label, raw))
    sentences.append(
        "The best calibrator was chosen on the same held-out questions that it is shown on, "
        "so its lead over its nearest rivals is slightly flattering."
    )
    cover = number(row.get("coverage_90"))
    if not math.isnan(cover):
        sentences.append(f"Its 90 % intervals contain {100 * cover:.1f} % of the human shares.")
    headline = _HEADLINES[findings["w1"]].format(best=best)
    won = [SCORES[score] for score, gap in against_raw.items() if gap and gap.high < 0]
    if any(against_raw.values()):
        headline += f" It beats the raw LLM on {' and '.join(won)}." if won else _NO_GAIN
    if findings["kl_1e3"] != findings["w1"]:
        headline += " On KL the LLM's part differs: see below."
    return Verdict(best, findings["w1"], headline, tuple(sentences))


_NO_GAIN: Final = " Calibration did not beat the raw LLM beyond chance."

_HEADLINES: Final[Mapping[Finding, str]] = {
    "adds": "The LLM adds information: {best} beats the train mean.",
    "nothing": "The LLM added nothing: the calibrated result is the human base rate.",
    "unclear": "{best} is ahead of the train mean, but not beyond chance.",
    "harms": "{best} is worse than the train mean: the LLM added nothing, use the base rate.",
    "unknown": "Whether the LLM added anything cannot be told: the train mean is missing.",
}


def _by_w1(row: Mapping[str, Any]) -> float:
    value = number(row.get("w1"))
    return math.inf if math.isnan(value) else value


def _standing(best: str, by_name: Mapping[str, Mapping[str, Any]]) -> str:
    words = {"identity": "the raw LLM", "train-mean": "the train mean", "uniform": "uniform shares"}
    parts = [f"{words.get(best, best)} has OA {number(by_name[best].get('oa')):.2f}"]
    parts += [
        f"{text} {number(by_name[name].get('oa')):.2f}"
        for name, text in words.items()
        if name in by_name and name != best
    ]
    sentence = ", ".join(parts) + " (opinion alignment, 100 is perfect)."
    return sentence[0].upper() + sentence[1:] if best in words else sentence


def _span(gap: Difference) -> str:
    return f"{gap.mean:+.4f}, 95 % interval {gap.low:+.4f} to {gap.high:+.4f}"


def _against_raw(best: str, label: str, gap: Difference) -> str:
    relation = "beats" if gap.high < 0 else "loses to" if gap.low > 0 else "cannot be told from"
    return f"On {label}, {best} {relation} the raw LLM (difference {_span(gap)})."


def _beyond_train_mean(
    best: str, label: str, gap: Difference | None, share: float, finding: Finding
) -> str:
    if gap is None:
        return f"On {label}, {best} was not compared with the train mean."
    if gap.high < 0:
        relation = "beats"
    elif gap.low > 0:
        relation = "loses to"
    else:
        relation = "cannot be told from"
    text = (
        f"On {label}, {best} {relation} the train mean, which uses no LLM at all "
        f"(difference {_span(gap)})"
    )
    if math.isnan(share):
        text += "; the share of the gap is undefined, because there is no gap or n is unknown. "
    else:
        text += (
            f"; with the LLM it closes {100 * share:.1f} % of the gap that the train mean leaves "
            "to the noise floor. "
        )
    return text + _MEANING[finding]


_MEANING: Final[Mapping[Finding, str]] = {
    "adds": "The LLM's answers carry information that the human base rate does not have.",
    "nothing": "That is nothing: the LLM added nothing, and the calibrated result is the human "
    "base rate.",
    "unclear": "More questions are needed to say whether the LLM added anything.",
    "harms": "The LLM added nothing; the human base rate alone is the better prediction.",
    "unknown": "What the LLM added cannot be told.",
}
