"""Putting every question to every group: what to ask, what is missing, what was answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from calib.errors import CalibError
from calib.survey import Group, Question
from elicit.answers import Answer
from elicit.methods import TOP_LOGPROBS, Asked, Method, make_method
from elicit.prompt import OrderScheme
from elicit.send import Keeper, Memory, Sender
from elicit.table import LLM_COLUMNS, Elicitation
from elicit.template import load_template
from elicit.types import Client, Reply, Request

__all__ = ["LLM_COLUMNS", "Cell", "Elicitation", "Progress", "Setting", "Work", "answers",
           "ask_logprob", "elicit_logprob", "lay_out", "missing"]  # fmt: skip

TEMPLATE: Final = "sd-qa"
Progress = Callable[[int, int], None]
"""Called with the number of calls done and of all calls."""


@dataclass(frozen=True, eq=False)
class Setting:
    """One way of asking, under the name of its prompt in tables."""

    method: Method
    prompt: str


@dataclass(frozen=True, eq=False)
class Cell:
    """A question put to a group in one setting, with all that is asked for it."""

    setting: int
    """Place in the work's settings."""
    group_number: int
    question: Question
    group: Group
    asked: tuple[Asked, ...]
    keys: tuple[str, ...]
    """Of the requests, in the order of ``asked``."""


@dataclass(frozen=True, eq=False)
class Work:
    """Everything that a survey asks of a model; no call is made for it."""

    model: str
    settings: tuple[Setting, ...]
    cells: tuple[Cell, ...]
    """By setting, then group, then question."""
    requests: Mapping[str, Request]
    """Each request once, by key, in the order in which they are sent."""


def lay_out(
    model: str, settings: Sequence[Setting], questions: Sequence[Question], groups: Sequence[Group]
) -> Work:
    """Build every request of every cell.

    Group by group: calls in a row then share the longest beginning of their prompts, which
    servers that cache prompts compute once.

    Raises
    ------
    CalibError
        If there is nothing or nobody to ask, or a question cannot be asked in this way.
    """
    if not questions or not groups or not settings:
        raise CalibError(
            f"elicitation needs questions, groups and methods; got {len(questions)} questions, "
            f"{len(groups)} groups and {len(settings)} methods; name at least one of each"
        )
    cells = []
    requests: dict[str, Request] = {}
    for place, setting in enumerate(settings):
        for number, group in enumerate(groups):
            for question in questions:
                asked = setting.method.ask(question, group)
                keys = tuple(one.request.key for one in asked)
                cells.append(Cell(place, number, question, group, asked, keys))
                requests.update(
                    (key, one.request) for key, one in zip(keys, asked, strict=True)
                    if key not in requests
                )  # fmt: skip
    return Work(model, tuple(settings), tuple(cells), requests)


def missing(work: Work, replies: Mapping[str, Reply]) -> list[Request]:
    """The requests without a reply, in the order in which they are sent."""
    return [request for key, request in work.requests.items() if key not in replies]


async def send_missing(
    work: Work, replies: Mapping[str, Reply], clients: Sequence[Client], sender: Sender
) -> Mapping[str, Reply]:
    """Ask what has no reply yet.

    Of k clients the i-th asks for groups i, i + k and so on. Who asks what is thereby fixed,
    and so is what a prompt cache holds at each call.

    Returns
    -------
    The replies given and those that came, by key.
    """
    share = {
        key: cell.group_number % len(clients) for cell in reversed(work.cells) for key in cell.keys
    }
    queues: list[list[Request]] = [[] for _ in clients]
    for key, request in work.requests.items():
        if key not in replies:
            queues[share[key]].append(request)
    sent = await sender.send(queues, clients)
    return {**replies, **sent}


def answers(work: Work, replies: Mapping[str, Reply]) -> tuple[Elicitation, ...]:
    """The answers of all cells whose requests all have a reply, by setting."""
    by_setting: list[list[Answer]] = [[] for _ in work.settings]
    for cell in work.cells:
        if all(key in replies for key in cell.keys):
            method = work.settings[cell.setting].method
            mine = [replies[key] for key in cell.keys]
            by_setting[cell.setting].append(
                method.read(cell.question, cell.group, cell.asked, mine)
            )
    return tuple(
        Elicitation(work.model, setting.method.elicitation, setting.prompt, tuple(given))
        for setting, given in zip(work.settings, by_setting, strict=True)
    )


def elicit_logprob(
    questions: Sequence[Question],
    groups: Sequence[Group],
    clients: Sequence[Client],
    *,
    orders: OrderScheme,
    wordings: Mapping[str, str] | None = None,
    top_logprobs: int = TOP_LOGPROBS,
    keeper: Keeper | None = None,
    progress: Progress | None = None,
) -> Elicitation:
    """Ask every question of every group by log-probability, with the ``sd`` prompt.

    Where an event loop runs already (a notebook), await ``ask_logprob`` instead.

    Parameters
    ----------
    clients
        One or several clients of one model, which share the groups: of k clients the i-th
        asks groups i, i + k, …, one call at a time. Who asks what is thereby fixed.
    orders
        In which orders the options are displayed; see ``prompt.option_orders``.
    wordings
        The question that asks for an attribute, by attribute, for the persona.
    top_logprobs
        Tokens whose log-probabilities are asked for.
    keeper
        Where replies are looked up and kept, e.g. a ``store.Store``; nowhere if None.

    Raises
    ------
    CalibError
        Before the first call, if a question cannot be asked in these orders, there is
        nothing or nobody to ask, or the clients are of different models.
    """
    return asyncio.run(
        ask_logprob(
            questions,
            groups,
            clients,
            orders=orders,
            wordings=wordings,
            top_logprobs=top_logprobs,
            keeper=keeper,
            progress=progress,
        )
    )


async def ask_logprob(
    questions: Sequence[Question],
    groups: Sequence[Group],
    clients: Sequence[Client],
    *,
    orders: OrderScheme,
    wordings: Mapping[str, str] | None = None,
    top_logprobs: int = TOP_LOGPROBS,
    keeper: Keeper | None = None,
    progress: Progress | None = None,
) -> Elicitation:
    """As ``elicit_logprob``, to be awaited."""
    model = _one_model(clients)
    method = make_method(
        "logprob",
        load_template(TEMPLATE),
        model=model,
        orders=orders,
        wordings=wordings,
        top_logprobs=top_logprobs,
    )
    work = lay_out(model, [Setting(method, method.prompt)], questions, groups)
    keeper = Memory() if keeper is None else keeper
    known = keeper.get_many(list(work.requests))
    done = len(known)

    def tell(_reply: Reply) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, len(work.requests))

    sender = Sender(keeper, at_once=1, progress=tell)
    (elicitation,) = answers(work, await send_missing(work, known, clients, sender))
    return elicitation


def _one_model(clients: Iterable[Client]) -> str:
    models = sorted({client.model for client in clients})
    if len(models) != 1:
        raise CalibError(
            f"clients that share the groups are of one model; got {', '.join(models) or 'none'}; "
            "elicit each model by itself"
        )
    return models[0]
