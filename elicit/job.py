"""A survey file as work to do, and doing it: from the store where it can be, else by calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from calib.errors import CalibError, DataError, Fault
from elicit.budget import Meter, estimate_tokens
from elicit.capabilities import check_needs
from elicit.connect import connected, model_name
from elicit.methods import make_method
from elicit.plan import AskPlan, ModelPlan, read_plan
from elicit.questionnaire import Questionnaire, read_document, read_questionnaire
from elicit.run import Setting, Work, answers, lay_out, missing, send_missing
from elicit.send import Keeper, Sender
from elicit.table import Elicitation
from elicit.template import Template, load_template
from elicit.types import Capabilities, Reply


@dataclass(frozen=True, eq=False)
class Job:
    """What a survey file asks for, laid out; nothing is loaded and nothing is sent."""

    path: Path
    questionnaire: Questionnaire
    model: ModelPlan
    ask: AskPlan
    seed: int
    templates: tuple[Template, ...]
    work: Work

    @property
    def examples_left_out(self) -> int:
        """Examples that few-shot prompts do not show beside their own question, over all cells."""
        return sum(
            self.work.settings[cell.setting].method.examples_left_out(cell.question, cell.group)
            for cell in self.work.cells
        )


@dataclass(frozen=True, eq=False)
class Finished:
    """What a run gave."""

    results: tuple[Elicitation, ...]
    n_from_store: int
    n_failed: int
    """Requests of this run without an answer: asked again by the next run."""
    n_sent: int
    """Requests of this run."""
    last_failure: str
    """What the last of the failed requests says."""


def read_job(path: Path, *, seed: int = 0) -> Job:
    """Read a survey file and build every request.

    Raises
    ------
    DataError
        With all faults of the questionnaire and of the tables ``[model]`` and ``[ask]``.
    CalibError
        If a template is unknown or broken, or a question cannot be asked in this way.
    """
    faults: list[Fault] = []
    document = read_document(path)
    try:
        model, ask = read_plan(document)
    except DataError as error:
        faults += error.faults
    try:
        questionnaire = read_questionnaire(path)
    except DataError as error:
        faults = [*error.faults, *faults]
    if faults:
        raise DataError(faults, file=path)
    templates = tuple(load_template(_beside(path, name)) for name in ask.templates)
    name = model_name(model)
    work = lay_out(
        name,
        _settings(name, questionnaire, ask, templates, seed),
        questionnaire.questions,
        questionnaire.groups,
    )
    return Job(path, questionnaire, model, ask, seed, templates, work)


def _settings(
    model: str,
    questionnaire: Questionnaire,
    ask: AskPlan,
    templates: Sequence[Template],
    seed: int,
) -> list[Setting]:
    """Every elicitation with every template.

    Templates that share a prompt (two wordings of ``sd``) stand under their own names, else
    their rows could not be told apart.
    """
    names = [template.name for template in templates]
    if len(set(names)) < len(names):
        raise CalibError(
            f"each template of a survey has a name of its own, by which rows are told apart; got "
            f"{', '.join(names)}; rename one"
        )
    shared = Counter(template.setting for template in templates)
    settings = []
    for template in templates:
        for elicitation in ask.elicitations:
            method = make_method(
                elicitation,
                template,
                model=model,
                orders=ask.orders,
                permuted=ask.permuted,
                draws=ask.draws.get(elicitation),
                temperature=ask.temperature.get(elicitation),
                max_tokens=ask.max_tokens.get(elicitation),
                wordings=questionnaire.wordings,
                examples=questionnaire.examples,
                seed=seed,
                paraphrases=ask.paraphrases,
            )
            prompt = template.setting if shared[template.setting] == 1 else template.name
            settings.append(Setting(method, prompt))
    return settings


def _beside(survey: Path, template: str) -> str:
    """A template's path counts from the survey file's folder; a name stays a name."""
    path = survey.parent / template
    return str(path) if Path(template).suffix else template


def forecast(job: Job, known: Mapping[str, Reply]) -> dict[str, object]:
    """What a run would ask, use and cost, by the requests that have no reply yet."""
    todo = missing(job.work, known)
    estimates = [estimate_tokens(request) for request in todo]
    tokens_in = sum(tokens for tokens, _ in estimates)
    tokens_out = sum(tokens for _, tokens in estimates)
    prices = job.ask.prices
    return {
        "cells": len(job.work.cells),
        "few_shot_examples_left_out": job.examples_left_out,
        "requests": len(job.work.requests),
        "from_store": len(job.work.requests) - len(todo),
        "calls": len(todo),
        "tokens_in_estimate": tokens_in,
        "tokens_out_at_most": tokens_out,
        "cost_at_most": None if prices is None else prices.cost(tokens_in, tokens_out),
    }


def check_job(job: Job, capabilities: Capabilities) -> None:
    """Refuse a job that needs what the endpoint cannot do; ``CalibError`` names another way."""
    for setting in job.work.settings:
        check_needs(setting.method.needs, capabilities, model=job.work.model)


async def run_job(
    job: Job,
    keeper: Keeper,
    meter: Meter,
    *,
    known: Mapping[str, Reply],
    progress: Callable[[Reply], None] = lambda _reply: None,
) -> Finished:
    """Ask what has no reply, keep it, and read all answers.

    Parameters
    ----------
    known
        What the store has of this work's replies.
    progress
        Called after each reply.

    Raises
    ------
    CalibError
        Before the first question, if more calls are needed than the meter allows, the
        endpoint cannot be asked, or it cannot do what a setting needs.
    StoppedError
        If the run ended early; everything answered is kept.
    """
    todo = missing(job.work, known)
    if meter.max_calls is not None and len(todo) > meter.max_calls:
        raise CalibError(
            f"a run stays within --max-calls; this one needs {len(todo)} calls and "
            f"{meter.max_calls} are allowed; allow more or ask for less (see --dry-run)"
        )
    sent: Mapping[str, Reply] = {}
    replies = known
    if todo:
        async with connected(job.model, job.ask, meter, keeper, seed=job.seed) as model:
            check_job(job, model.capabilities)
            sender = Sender(
                keeper, at_once=model.at_once, stopped=lambda: meter.stopped, progress=progress
            )
            replies = await send_missing(job.work, known, model.clients, sender)
            sent = sender.replies
    failures = [reply.detail for reply in sent.values() if reply.outcome == "failed"]
    return Finished(
        results=answers(job.work, replies),
        n_from_store=len(known),
        n_failed=len(failures),
        n_sent=len(sent),
        last_failure=failures[-1] if failures else "",
    )
