"""Whether a model and its endpoint can be used: known distributions, position, failures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np

from calib.errors import CalibError
from calib.survey import ELICITATIONS, Question
from elicit.answers import Answer
from elicit.budget import Meter
from elicit.capabilities import check_needs
from elicit.connect import connected
from elicit.job import Job
from elicit.known import known_questions, reversal_by_chance, tv, tv_by_chance, w1
from elicit.manifest import describe_setting
from elicit.methods import make_method
from elicit.prompt import POPULATION
from elicit.run import Setting, Work, answers, lay_out, send_missing
from elicit.send import Memory, Sender
from elicit.table import Elicitation
from elicit.template import load_template
from elicit.types import Capabilities, Client, Reply

TEMPLATE: Final = "base"
ORDERS: Final = "both"
SELF_RANDOM_DRAWS: Final = 10
"""Of each order: with few draws chance alone would move the shares far."""
SEQUENCE_ANSWERS: Final = 30
SAMPLE: Final = 4
"""Questions of the survey itself that are asked too, for position bias and failures."""

MOST_UNANSWERED: Final = 0.1
MOST_REVERSAL: Final = 0.3
LEAST_CAPTURED: Final = 0.5


@dataclass(frozen=True)
class MethodCheck:
    """How one elicitation did."""

    elicitation: str
    in_survey: bool
    """Whether the survey asks by it."""
    n_replies: int
    outcomes: dict[str, int]
    """Of single replies."""
    tv: float
    """Mean total variation from the known distributions; NaN where none was answered."""
    tv_by_chance: float
    """What the number of draws alone would give to a model that draws from the truth."""
    tv_uniform: float
    """What equal shares would have, on the same questions."""
    w1: float
    """Mean Wasserstein-1 distance from the known distributions, on scales from 0 to 1."""
    reversal_distance: float
    """Mean total variation between a list and its reverse, the survey's own questions too."""
    reversal_by_chance: float
    """What the number of draws alone would give to a model without position effect."""
    captured_mass: float
    """Mean probability of the first token that fell on letters; NaN but for logprob."""
    problems: tuple[str, ...]
    """Why it should not be used; empty if it may."""


@dataclass(frozen=True)
class Diagnosis:
    """What an endpoint can do and how its answers are to be taken."""

    model: str
    in_survey: tuple[str, ...]
    """Elicitations that the survey asks by."""
    capabilities: Capabilities
    checks: tuple[MethodCheck, ...]
    skipped: dict[str, str]
    """Elicitations that the endpoint cannot do, with the reason."""

    @property
    def problems(self) -> tuple[str, ...]:
        """Of the elicitations that the survey asks by."""
        found = [
            f"{check.elicitation}: {problem}" for check in self.checks for problem in check.problems
            if check.in_survey
        ]  # fmt: skip
        return (*(why for name, why in self.skipped.items() if name in self.in_survey), *found)

    @property
    def usable(self) -> tuple[str, ...]:
        """Elicitations without problems."""
        return tuple(check.elicitation for check in self.checks if not check.problems)

    @property
    def able(self) -> dict[str, Any]:
        """The capabilities by name."""
        return asdict(self.capabilities)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; undefined numbers are None."""
        checks = [
            {
                name: None if isinstance(value, float) and math.isnan(value) else value
                for name, value in asdict(check).items()
            }
            for check in self.checks
        ]
        return {
            "model": self.model,
            "sound": not self.problems,
            "problems": list(self.problems),
            "usable": list(self.usable),
            "capabilities": self.able,
            "skipped": self.skipped,
            "checks": checks,
        }


def lay_out_checks(job: Job, elicitations: Sequence[str] = ELICITATIONS) -> Work:
    """The requests of an examination: known questions and a sample of the survey's own.

    Without a persona, each question in its order and reversed.
    """
    settings = []
    for elicitation in elicitations:
        method = make_method(
            elicitation,
            load_template(TEMPLATE),
            model=job.work.model,
            orders=ORDERS,
            draws=SELF_RANDOM_DRAWS if elicitation == "self_random" else None,
            seed=job.seed,
        )
        settings.append(Setting(method, TEMPLATE))
    asked = [known.question for known in known_questions()] + sample(job.questionnaire.questions)
    return lay_out(job.work.model, settings, asked, [POPULATION])


def sample(questions: Sequence[Question], most: int = SAMPLE) -> list[Question]:
    """Some questions, evenly spread over the questionnaire."""
    count = min(most, len(questions))
    return [questions[place * len(questions) // count] for place in range(count)]


async def examine_job(
    job: Job, meter: Meter, *, progress: Callable[[Reply], None] = lambda _reply: None
) -> Diagnosis:
    """Find out what the endpoint can do, ask by every elicitation that it can, and judge.

    Nothing is taken from a store or kept: an examination is of now.

    Raises
    ------
    CalibError
        If the endpoint cannot be asked at all.
    StoppedError
        If calls may no longer be made, or the endpoint is gone.
    """
    memory = Memory()
    async with connected(job.model, job.ask, meter, memory, seed=job.seed) as model:
        skipped = _cannot(job, model.capabilities)
        sender = Sender(
            memory, at_once=model.at_once, stopped=lambda: meter.stopped, progress=progress
        )
        return await examine(job, model.capabilities, skipped, model.clients, sender)


async def examine(
    job: Job,
    capabilities: Capabilities,
    skipped: dict[str, str],
    clients: Sequence[Client],
    sender: Sender,
) -> Diagnosis:
    """Ask by every elicitation that is not skipped and judge the answers."""
    work = lay_out_checks(job, [name for name in ELICITATIONS if name not in skipped])
    results = answers(work, await send_missing(work, {}, clients, sender))
    checks = tuple(judge(result, result.elicitation in job.ask.elicitations) for result in results)
    return Diagnosis(job.work.model, job.ask.elicitations, capabilities, checks, skipped)


def _cannot(job: Job, capabilities: Capabilities) -> dict[str, str]:
    skipped = {}
    for setting in lay_out_checks(job).settings:
        try:
            check_needs(setting.method.needs, capabilities, model=job.work.model)
        except CalibError as error:
            skipped[setting.method.elicitation] = str(error)
    return skipped


def judge(result: Elicitation, in_survey: bool) -> MethodCheck:
    """Measure one elicitation's answers against what is known, and say what is wrong."""
    truths = {known.question.key: known.truth for known in known_questions()}
    outcomes: Counter[str] = Counter(
        display.outcome for one in result.answers for display in one.displays
    )
    answered = [
        one for one in result.answers if one.outcome == "answered" and one.question.key in truths
    ]
    pairs = [(one, truths[one.question.key]) for one in answered]
    described = describe_setting(result)
    check = MethodCheck(
        elicitation=result.elicitation,
        in_survey=in_survey,
        n_replies=sum(outcomes.values()),
        outcomes=dict(outcomes),
        tv=_mean([tv(one.shares, truth) for one, truth in pairs]),
        tv_by_chance=_mean(
            [tv_by_chance(truth, _draws(result.elicitation, one)) for one, truth in pairs]
        ),
        tv_uniform=_mean([tv(np.full(len(truth), 1 / len(truth)), truth) for _, truth in pairs]),
        w1=_mean([w1(one, truth) for one, truth in pairs]),
        reversal_distance=_number(described["reversal_distance"]),
        reversal_by_chance=_mean(
            [
                reversal_by_chance(one, _draws(result.elicitation, one))
                for one in result.answers
                if one.outcome == "answered"
            ]
        ),
        captured_mass=_number(described["captured_mass"]),
        problems=(),
    )
    return replace(check, problems=tuple(_problems(check)))


def _problems(check: MethodCheck) -> list[str]:
    found = []
    lost = check.n_replies - check.outcomes.get("answered", 0)
    if lost > MOST_UNANSWERED * check.n_replies:
        found.append(
            f"{lost} of {check.n_replies} replies give no answer (at most {MOST_UNANSWERED:.0%})"
        )
    if math.isnan(check.tv):
        found.append("no question with a known distribution was answered")
    elif check.tv - check.tv_by_chance >= check.tv_uniform:
        found.append(
            f"no nearer to known distributions than equal shares (total variation {check.tv:.2f}, "
            f"{check.tv_by_chance:.2f} of it by chance; equal shares {check.tv_uniform:.2f})"
        )
    if check.reversal_distance - check.reversal_by_chance > MOST_REVERSAL:
        found.append(
            f"answers move by {check.reversal_distance:.2f} when the list is reversed "
            f"({check.reversal_by_chance:.2f} of it by chance, at most {MOST_REVERSAL:.2f} beyond)"
        )
    if check.captured_mass < LEAST_CAPTURED:
        found.append(
            f"{check.captured_mass:.0%} of the first token's probability falls on letters (at "
            f"least {LEAST_CAPTURED:.0%})"
        )
    return found


def _draws(elicitation: str, answer: Answer) -> int | None:
    """Independent answers behind the shares; None where shares are given as such."""
    match elicitation:
        case "self_random" | "paraphrase":
            return sum(display.outcome == "answered" for display in answer.displays)
        case "sequence":
            return SEQUENCE_ANSWERS * len(answer.displays)
        case _:
            return None


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _number(value: float | None) -> float:
    return math.nan if value is None else value
