"""The whole path offline: real answers and a real small LLM, then a survey with known truth."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from calib.errors import CalibError, MissingExtraError
from calib.evaluate import ALWAYS, NO_LLM, Evaluation, evaluate, write_evaluation
from calib.files import atomic_file, write_table
from calib.gss import HumanSurvey, human_opinions
from calib.paired import settings_of
from calib.report import write_report
from calib.rules import CELL_KEY, OPTION_KEY
from calib.simulate import SimulatedSurvey, simulate_survey
from calib.survey import Group
from calib.table import check_table
from elicit.run import Elicitation, elicit_logprob
from elicit.types import Client

CALIBRATORS: Final = ("identity", "uniform", "train-mean", "ridge", "dirichlet")
FOLDS: Final = 5
GROUPS: Final = tuple(Group("simulated", f"group {number:02}") for number in range(1, 15))
N_OPTIONS: Final = (3, 4, 5)
NEGLIGIBLE: Final = 0.05
"""A share of the gap below this counts as none."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, steps done and steps in all."""


@dataclass(frozen=True, eq=False)
class DemoSummary:
    """Where the results are and what they say."""

    gss: Evaluation
    simulated: Evaluation
    gss_report: Path
    simulated_report: Path
    gss_findings: tuple[str, ...]
    simulated_findings: tuple[str, ...]


def run_demo(
    out: Path,
    seed: int,
    progress: Progress | None = None,
    *,
    human: HumanSurvey | None = None,
    clients: Sequence[Client] | None = None,
    calibrators: Sequence[str] = CALIBRATORS,
    n_simulated: int = 60,
) -> DemoSummary:
    """Elicit, pair, evaluate by question and report, on real and on simulated data.

    Writes ``gss.parquet``, ``gss-evaluation/``, ``gss-report.html`` and the same three for
    ``simulated`` into the folder ``out``.

    Parameters
    ----------
    human
        The human side; the spending items of the General Social Survey if None.
    clients
        Clients of one model; the small local model if None.
    calibrators
        Names of the registry.
    n_simulated
        Questions of the simulated survey.

    Raises
    ------
    MissingExtraError
        Without the extra ``demo``, as far as it is needed.
    CalibError
        Without the weights of the local model, as far as they are needed.
    """
    if set(calibrators) <= set(ALWAYS):
        raise CalibError(
            "the demo needs a calibrator that learns from the LLM's answers; got "
            f"{', '.join(calibrators) or 'none'}; add ridge or dirichlet"
        )
    # Everything that may be missing is asked for before any work is done.
    clients = _local_model() if clients is None else clients
    human = human_opinions() if human is None else human

    def tell(what: str, done: int, total: int) -> None:
        if progress is not None:
            progress(what, done, total)

    elicited = elicit_logprob(
        human.questions,
        human.groups,
        clients,
        orders="rotations",
        wordings=human.wordings,
        progress=lambda done, total: tell(f"asking {clients[0].model}", done, total),
    )
    table = _join(human, elicited)
    gss = _evaluate(table, out / "gss", calibrators, seed, "survey", tell)
    gss_about = _about_gss(gss, elicited, human)
    gss_report = _report(out / "gss", f"A small model and the {_name(human)} survey", gss_about)

    simulated = simulate_survey(
        n_questions=n_simulated, groups=GROUPS, n_options=N_OPTIONS, seed=seed
    )
    known = _evaluate(
        simulated.table, out / "simulated", calibrators, seed, "simulated survey", tell
    )
    known_about = _about_simulated(known, simulated)
    known_report = _report(out / "simulated", "Simulated data with known truth", known_about)
    return DemoSummary(gss, known, gss_report, known_report, gss_about, known_about)


def _local_model() -> Sequence[Client]:
    from elicit.local import bundled_weights, local_clients

    if find_spec("xllamacpp") is None:
        raise MissingExtraError("the demo's local model", package="xllamacpp", extra="demo")
    return local_clients(bundled_weights())


def _name(human: HumanSurvey) -> str:
    return human.questions[0].survey


def _join(human: HumanSurvey, elicited: Elicitation) -> pd.DataFrame:
    # OPTION_KEY and CELL_KEY share the question.
    key = list(dict.fromkeys([*OPTION_KEY, *CELL_KEY]))
    return check_table(human.frame.merge(elicited.table, on=key, validate="one_to_one"))


def _evaluate(
    table: pd.DataFrame,
    place: Path,
    calibrators: Sequence[str],
    seed: int,
    what: str,
    tell: Progress,
) -> Evaluation:
    write_table(table, place.with_suffix(".parquet"))
    evaluation = evaluate(
        table,
        selections=[settings_of(table)],
        calibrators=calibrators,
        folds=FOLDS,
        seed=seed,
        table_name=f"{place.name}.parquet",
        progress=lambda fit, done, total: tell(f"{what}: {fit}", done, total),
    )
    write_evaluation(evaluation, _folder(place))
    return evaluation


def _report(place: Path, title: str, paragraphs: Sequence[str]) -> Path:
    with atomic_file(_folder(place) / "about.json") as draft:
        about = {"title": title, "paragraphs": list(paragraphs)}
        draft.write_text(json.dumps(about, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    report = place.with_name(f"{place.name}-report.html")
    write_report(_folder(place), report)
    return report


def _folder(place: Path) -> Path:
    return place.with_name(f"{place.name}-evaluation")


def _about_gss(
    evaluation: Evaluation, elicited: Elicitation, human: HumanSurvey
) -> tuple[str, ...]:
    """What the table and the scores say of the model, in words chosen by the figures."""
    identity = evaluation.predictions.query("calibrator == 'identity'")
    of_shares = _correlation(identity["p_human"], identity["p_raw"])
    deviation = identity.groupby(["question_id", "option_index"])[["p_human", "p_raw"]]
    within = identity[["p_human", "p_raw"]] - deviation.transform("mean")
    of_groups = _correlation(within["p_human"], within["p_raw"])
    return (
        f"People: {len(human.questions)} questions of the survey {_name(human)} by "
        f"{len(human.groups)} groups. LLM: {elicited.model}, asked for the letter of an option "
        f"with each option once in each position; {elicited.captured_mass:.0%} of the probability "
        "of its first token fell on letters.",
        f"What the LLM knows: its shares and those of people correlate at {_shown(of_shares)}; "
        "their deviations from the mean over groups, which is what a persona should bring, at "
        f"{_shown(of_groups)}. Opinion alignment: {_alignments(evaluation)}.",
        _verdict(evaluation),
        "So small a model shows that the path works, and is no evidence about what larger "
        "models know.",
    )


def _verdict(evaluation: Evaluation) -> str:
    """What the LLM adds to the better of the two yardsticks that ask no LLM, and if by chance.

    Uniform counts as well as the train mean: with few questions the train mean can be the
    worse, and a calibrator that shrinks to uniform would owe that difference to no LLM.
    """
    best, without = _best(evaluation), _best_of(evaluation, NO_LLM)
    name, reference = best["calibrator"], without["calibrator"]
    share = {
        score: (without[score] - best[score]) / (without[score] - without[f"floor_{score}"])
        for score in ("w1", "kl_1e3")
    }
    measured = (
        f"{name}, the best that uses its answers, closed {share['w1']:.1%} (W1) and "
        f"{share['kl_1e3']:.1%} (KL) of the distance between {reference}, the best that asks no "
        "LLM, and the noise floor."
    )
    if np.isnan(share["w1"]):
        return "What the LLM adds cannot be told: the noise floor is unknown."
    low, high = _gain(evaluation, name, reference)
    interval = f"The 95 % interval of the gain in W1, over questions, is {low:.4f} to {high:.4f}."
    if share["w1"] <= NEGLIGIBLE:
        base = "What calibration returns here is the human base rate."
        return f"The LLM closed none of the gap: {measured} {interval} {base}"
    if low <= 0 <= high:
        return f"What the LLM adds cannot be told from nothing: {measured} {interval}"
    return f"The LLM closed some of the gap: {measured} {interval}"


def _gain(evaluation: Evaluation, name: str, reference: str) -> tuple[float, float]:
    """Interval of W1 of the reference minus that of a calibrator; positive: it is better."""
    for one in evaluation.differences:
        if one["score"] == "w1" and {one["a"], one["b"]} == {name, reference}:
            ends = (-one["hi"], -one["lo"]) if one["a"] == name else (one["lo"], one["hi"])
            return float(ends[0]), float(ends[1])
    raise CalibError(f"an evaluation compares {name} with {reference}; found no such difference")


def _about_simulated(evaluation: Evaluation, simulated: SimulatedSurvey) -> tuple[str, ...]:
    """The truth beside what was recovered from the same survey."""
    truth = simulated.truth
    paragraphs = [
        "These data are simulated: no person and no LLM was asked. The simulated LLM "
        f"exaggerates differences between groups by {1 / truth.beta_within:.1f} (true "
        f"within-group slope {truth.beta_within:g}) and is wrong about whole questions: their "
        f"shares vary about what it says with concentration {truth.kappa:g}, as if only so "
        f"many people had been asked. Opinion alignment: {_alignments(evaluation)}.",
        *_against_true_shares(evaluation, simulated),
    ]
    for model in evaluation.models:
        posterior = getattr(model.calibrator, "posterior_", None)
        if posterior is not None:
            paragraphs.append(_recovered(posterior["posterior"].dataset, simulated))
    return tuple(paragraphs)


def _against_true_shares(evaluation: Evaluation, simulated: SimulatedSurvey) -> tuple[str, ...]:
    """Distances from the shares of the population, which only a simulation knows."""
    key = list(dict.fromkeys([*OPTION_KEY, *CELL_KEY]))
    both = evaluation.predictions.merge(simulated.true_shares, on=key, validate="many_to_one")
    best = _best(evaluation)["calibrator"]
    said = []
    for name in dict.fromkeys(("identity", "train-mean", best)):
        rows = both[both["calibrator"] == name]
        cells = (rows["p_cal"] - rows["p_true"]).abs().groupby([rows[name] for name in CELL_KEY])
        said.append(f"{name} {cells.sum().mean() / 2:.3f}")
    found = [
        "Total variation from the true shares, on questions held out (lower is better): "
        f"{', '.join(said)}."
    ]
    with_interval = both[both["p_cal_lo"].notna()]
    for name, rows in with_interval.groupby("calibrator"):
        inside = (rows["p_cal_lo"] <= rows["p_true"]) & (rows["p_true"] <= rows["p_cal_hi"])
        found.append(f"The 90 % intervals of {name} hold {inside.mean():.1%} of the true shares.")
    return tuple(found)


def _recovered(posterior: Any, simulated: SimulatedSurvey) -> str:
    """Truth and 90 % intervals of the within-group slope, from the posterior of one fold."""
    low, high = np.quantile(posterior["beta_within"].to_numpy(), [0.05, 0.95])
    drawn = simulated.group_effects["beta_within"]
    truth = float(drawn.mean())
    of_groups = posterior["beta_within_group"].quantile([0.05, 0.95], dim=["chain", "draw"])
    low_of, high_of = of_groups.to_numpy().reshape(2, -1)
    covered = int(((low_of <= drawn) & (drawn <= high_of)).sum())
    verb = "holds" if low <= truth <= high else "misses"
    return (
        f"The within-group slope of the fit without the first fold: truth {truth:.3f}, 90 % "
        f"interval {low:.3f} to {high:.3f}, which {verb} it. The groups' own slopes lie in "
        f"their 90 % intervals for {covered} of {len(drawn)} groups."
    )


def _best(evaluation: Evaluation) -> dict[str, Any]:
    """The row with the lowest W1 among calibrators that learn from the LLM's answers."""
    names = [str(row["calibrator"]) for row in evaluation.rows]
    return _best_of(evaluation, [name for name in names if name not in ALWAYS])


def _best_of(evaluation: Evaluation, names: Sequence[str]) -> dict[str, Any]:
    rows = [row for row in evaluation.rows if row["calibrator"] in names]
    return min(rows, key=lambda row: float(row["w1"]))


def _alignments(evaluation: Evaluation) -> str:
    return ", ".join(f"{row['calibrator']} {row['oa']:.1f}" for row in evaluation.rows)


def _shown(correlation: float) -> str:
    if np.isnan(correlation):
        return "no defined value (one side does not vary)"
    return f"{correlation:.2f}"


def _correlation(one: pd.Series, other: pd.Series) -> float:
    """Pearson's; NaN where one of both does not vary."""
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(np.corrcoef(one, other)[0, 1])
