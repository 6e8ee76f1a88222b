"""The reference papers' claims, measured on finished studies.

Sources: Kambhatla et al., arXiv 2507.00439; Meister et al., arXiv 2411.05403.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from jaxtyping import Float

from benchmarks.outcomes import Estimate, Means, Outcome, estimate
from benchmarks.verdicts import Claim, enough, gone, same_share, sign, unreliable
from calib.survey import Setting

K: Final = "Kambhatla et al."
M: Final = "Meister et al."
PUBLISHED: Final = ("ridge", "lasso", "forest")
OURS: Final = ("dirichlet", "dirichlet-laplace")
FEW: Final = "10"
Values = Float[np.ndarray, " resample"]


def main_claims(outcome: Outcome, table: str) -> Iterator[Claim]:
    """What the main study tests, on one of its tables."""
    settings = outcome.settings(table)
    raw = outcome.means(table, "identity", settings, "w1")
    yield Claim(
        "raw settings often lie below OA 60", K, "43 of 290 settings (14.8 %)", table,
        f"per cent of {len(settings)} raw settings below OA 60",
        (ours := estimate(100.0 * (alignment(raw) < 60).mean(axis=1))),
        "share", same_share(ours, 100 * 43 / 290),
        "the paper's settings are other models on other questions",
    )  # fmt: skip
    names = calibrators(outcome, table)
    for name in names:
        after = outcome.means(table, name, settings, "w1")
        yield from _gains(raw, after, name, table)
        yield from _spread(raw, after, name, table)
    if not outcome.common(table):
        return  # Settings with other cells cannot be compared.
    for name in ("identity", *names):
        yield from _verbalized(outcome, table, name)
        yield from _prompted(outcome, table, name)
        yield from _exaggeration(outcome, table, name)
        if name != "identity":
            yield from _logprob_best(outcome, table, name)


def meister_claims(outcome: Outcome, table: str) -> Iterator[Claim]:
    """Steering and expression, in total variation."""
    if not outcome.common(table):
        return
    settings = [one for one in outcome.settings(table) if one.prompt in ("sd", "fewshot")]
    for name in ("identity", *calibrators(outcome, table)):
        pairs = pairs_of(settings, "elicitation", "sequence", "verbalized")
        if pairs:
            one, other = (_side(outcome, table, name, pairs, side, "tv") for side in (0, 1))
            ours = estimate(100 * (one.mean(axis=1) / other.mean(axis=1) - 1))
            yield Claim(
                "models describe opinions better than they simulate them (knowledge-to-simulation "
                "gap)", M, "9.2 to 43.6 % by model, raw", table,
                f"TV of sequence over verbalized, less 1, per cent, {_of(name)}, "
                f"{len(pairs)} pairs",
                ours, "above", sign(ours, "above"),
            )  # fmt: skip
        worst = _least(outcome, table, name, settings, "logprob", "tv")
        if worst is not None:
            yield Claim(
                "log-probabilities are the worst expression", M, "e.g. gpt-4: .550 against .278 "
                "and .229, raw", table,
                f"TV of log-probability minus the next worst, {_of(name)}",
                worst, "above", sign(worst, "above"),
            )  # fmt: skip
        pairs = pairs_of(settings, "prompt", "sd", "fewshot")
        if pairs:
            one, other = (_side(outcome, table, name, pairs, side, "tv") for side in (0, 1))
            ours = estimate((one - other).mean(axis=1))
            yield Claim(
                "few-shot steering beats personas", M, "verbalized on OpinionQA, raw: .181 to "
                ".179 (gpt-4) … .238 to .146 (opus)", table,
                f"TV of sd minus few-shot, {_of(name)}, {len(pairs)} pairs",
                ours, "above", sign(ours, "above"),
                "the paper chose the examples by the target's own answers, which flatters few-shot",
            )  # fmt: skip


def efficiency_claims(outcome: Outcome, table: str) -> Iterator[Claim]:
    """How few training questions suffice."""
    if FEW not in outcome.sizes(table):
        return
    settings = outcome.settings(table)
    raw = outcome.means(table, "identity", settings, "mse").mean(axis=1)
    for name in calibrators(outcome, table):
        few, most = (
            outcome.means(table, name, settings, "mse", size=size).mean(axis=1)
            for size in (FEW, outcome.sizes(table)[-1])
        )
        ours = estimate(100 * (raw - few) / np.where(raw > most, raw - most, np.nan))
        yield Claim(
            "1 to 10 examples suffice", K, "converges between 1 and 10", table,
            f"per cent of {name}'s gain in MSE reached with {FEW} training questions",
            ours, "enough", enough(ours), "what the paper calls an example is not known",
        )  # fmt: skip


def versus_claims(outcome: Outcome, table: str) -> Iterator[Claim]:
    """One calibrator against another, on the same settings."""
    settings, there = outcome.settings(table), outcome.calibrators(table)
    for claimed, worse, claim, source, paper in VERSUS:
        for better in OURS if claimed in OURS else (claimed,):
            if better in there and worse in there:
                a, b = (outcome.means(table, name, settings, "w1") for name in (better, worse))
                ours = estimate(100 * (b - a).mean(axis=1))
                yield Claim(
                    claim, source, paper, table, f"OA of {better} minus {worse}, points",
                    ours, "above", sign(ours, "above"),
                )  # fmt: skip


VERSUS: Final = (
    ("ridge-per-group", "ridge", "calibrators of each group gain on pooled ones", K, "expected, "
     "not measured"),
    ("dirichlet", "ridge-per-group", "a hierarchical model gains on calibrators of each group",
     "ours", ""),
    ("ridge", "simplex", "options predicted one by one beat all options at once, constrained", K,
     "stated, no figure known"),
    ("dirichlet", "ridge", "a joint model of all options beats options one by one", "ours", ""),
)  # fmt: skip
"""Better (``dirichlet`` by whichever inference) and worse as claimed, the claim, whose, and the
source's figure."""


def fewshot_claims(outcome: Outcome, table: str) -> Iterator[Claim]:
    """Five answered questions in the prompt against the same number for calibration."""
    pairs = pairs_of(outcome.settings(table), "prompt", "sd", "fewshot")
    if not pairs or "5" not in outcome.sizes(table) or not outcome.common(table):
        return
    prompted = _side(outcome, table, "identity", pairs, 1, "w1")
    for name in calibrators(outcome, table):
        five = _side(outcome, table, name, pairs, 0, "w1", "5")
        ours = estimate(100 * (prompted - five).mean(axis=1))
        yield Claim(
            "five answered questions do more for calibration than in the prompt", "ours", "", table,
            f"OA of {name} on sd answers, 5 training questions, minus raw few-shot answers, points",
            ours, "above", sign(ours, "above"),
            "few-shot examples were chosen by the target's own answers, which flatters few-shot",
        )  # fmt: skip


def calibrators(outcome: Outcome, table: str) -> list[str]:
    """The best published calibrator on W1, chosen on these very results, and ours."""
    settings, there = outcome.settings(table), outcome.calibrators(table)
    of = {
        name: float(outcome.means(table, name, settings, "w1")[0].mean())
        for name in PUBLISHED
        if name in there
    }
    best = [min(of, key=lambda name: (np.isnan(of[name]), of[name]))] if of else []
    return [*best, *(name for name in OURS if name in there)]


def alignment(w1: Means) -> Means:
    """OA of W1."""
    return 100 * (1 - w1)


def pairs_of(settings: Sequence[Setting], field: str, a: str, b: str) -> list[tuple[Setting, ...]]:
    """Settings with the values ``a`` and ``b`` of a field, alike in the others."""
    there = set(settings)
    return [
        (one, one._replace(**{field: b}))
        for one in settings
        if getattr(one, field) == a and one._replace(**{field: b}) in there
    ]


def _side(
    outcome: Outcome, table: str, name: str, pairs: Sequence[tuple[Setting, ...]], side: int,
    score: str, size: str | None = None,
) -> Means:  # fmt: skip
    return outcome.means(table, name, [pair[side] for pair in pairs], score, size=size)


def _of(name: str) -> str:
    return "raw" if name == "identity" else f"after {name}"


def _gains(raw: Means, after: Means, name: str, table: str) -> Iterator[Claim]:
    before, gained = alignment(raw).mean(axis=1), 100 * (raw - after).mean(axis=1)
    for values, unit in ((gained, "points"), (100 * gained / before, "per cent of the raw OA")):
        ours = estimate(values)
        yield Claim(
            "calibration raises alignment", K, "16.3 (points or per cent: not stated)", table,
            f"mean gain in OA by {name} over {raw.shape[1]} settings, {unit}",
            ours, "above", sign(ours, "above"),
        )  # fmt: skip


def _spread(raw: Means, after: Means, name: str, table: str) -> Iterator[Claim]:
    if raw.shape[1] < 3:
        return
    deviations = after.std(axis=1, ddof=1) / raw.std(axis=1, ddof=1)
    ranges = np.ptp(after, axis=1) / np.ptp(raw, axis=1)
    for claim, what, ratio in (
        ("calibration lowers the variance over settings", "standard deviation of OA", deviations),
        ("after calibration settings converge", "range of OA", ranges),
    ):
        ours = estimate(100 * (ratio - 1))
        yield Claim(
            claim, K, "not known", table,
            f"change of the {what} over {raw.shape[1]} settings by {name}, per cent",
            ours, "below", sign(ours, "below"),
        )  # fmt: skip


def _least(
    outcome: Outcome, table: str, name: str, settings: Sequence[Setting], one: str, score: str
) -> Estimate | None:
    """The least of the mean differences of one elicitation from each other one."""
    differences = []
    for other in sorted({setting.elicitation for setting in settings} - {one}):
        pairs = pairs_of(settings, "elicitation", one, other)
        if pairs:
            a, b = (_side(outcome, table, name, pairs, side, score) for side in (0, 1))
            differences.append((a - b).mean(axis=1))
    return estimate(np.min(differences, axis=0)) if differences else None


def _verbalized(outcome: Outcome, table: str, name: str) -> Iterator[Claim]:
    settings = outcome.settings(table)
    found = []
    for other in sorted({setting.elicitation for setting in settings} - {"verbalized"}):
        pairs = pairs_of(settings, "elicitation", "verbalized", other)
        if pairs:
            a, b = (_side(outcome, table, name, pairs, side, "w1") for side in (0, 1))
            found.append(100 * (b - a).mean(axis=1))
    if found:
        ours = estimate(np.min(found, axis=0))
        yield Claim(
            "verbalized answers align best", K, "81.9 against 79.7 and 79.2, OpinionQA excepted",
            table, f"OA of verbalized minus the best other elicitation, points, {_of(name)}",
            ours, "above", sign(ours, "above"),
        )  # fmt: skip


def _prompted(outcome: Outcome, table: str, name: str) -> Iterator[Claim]:
    pairs = pairs_of(outcome.settings(table), "prompt", "sd", "base")
    if not pairs:
        return
    a, b = (_side(outcome, table, name, pairs, side, "w1") for side in (0, 1))
    gain = 100 * (b - a)
    of_pairs = [estimate(gain[:, number]) for number in range(len(pairs))]
    better, worse = sum(one.lo > 0 for one in of_pairs), sum(one.hi < 0 for one in of_pairs)
    ours = estimate(gain.mean(axis=1))
    yield Claim(
        "sociodemographic prompts do not reliably help", K, "not known", table,
        f"OA of sd minus base, points, {_of(name)}", ours, "unreliable",
        unreliable(ours, better, worse, len(pairs)),
        f"of {len(pairs)} pairs {better} clearly better, {worse} clearly worse",
    )  # fmt: skip


def _exaggeration(outcome: Outcome, table: str, name: str) -> Iterator[Claim]:
    settings = [one for one in outcome.settings(table) if one.prompt == "sd"]
    if not settings:
        return
    squared = outcome.means(table, name, settings, "shape_gap", over="sum_shape_gap_human")
    if np.isnan(squared[0]).all():
        return
    ours = estimate(100 * (np.sqrt(squared).mean(axis=1) - 1))
    measured = f"group differences against people's, less 1, per cent, sd prompt, {_of(name)}"
    note = "sampling error of the human shares is taken out"
    if name == "identity":
        yield Claim(
            "models exaggerate differences between groups", K, "not known", table,
            measured, ours, "above", sign(ours, "above"), note,
        )  # fmt: skip
    else:
        yield Claim(
            "calibration leaves no exaggeration", "asked here", "", table,
            measured, ours, "gone", gone(ours), f"{note}; below 0: it smooths them",
        )  # fmt: skip


def _logprob_best(outcome: Outcome, table: str, name: str) -> Iterator[Claim]:
    settings = outcome.settings(table)
    wins: list[Values] = []
    for one in settings:
        rivals = [two for two in settings
                  if two != one and two._replace(elicitation="logprob") == one]  # fmt: skip
        if one.elicitation == "logprob" and rivals:
            means = outcome.means(table, name, [one, *rivals], "w1")
            wins.append((means[:, 0] < means[:, 1:].min(axis=1)).astype(float))
    if wins:
        ours = estimate(100 * np.mean(wins, axis=0))
        yield Claim(
            "calibrated log-probabilities are often best", K, "10 of 24 settings (41.7 %)", table,
            f"per cent of {len(wins)} models and prompts where they are best, {_of(name)}",
            ours, "share", same_share(ours, 100 * 10 / 24),
        )  # fmt: skip
