"""How much answers depend on where their options stand in the list."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from calib.errors import CalibError
from calib.survey import Question
from elicit.methods import Answer
from elicit.prompt import Order, OrderScheme, option_orders


@dataclass(frozen=True, eq=False)
class PositionEffect:
    """What standing in each position does to an option, over questions of one length."""

    n_options: int
    n_answers: int
    mean_share: Float[np.ndarray, " position"]
    """Mean share of whatever stood there; sums to one."""
    effect: Float[np.ndarray, " position"]
    """Mean of (share there − the same option's mean share over all orders asked). What the
    options say cancels; positive where options gain. NaN where no option ever moved."""


def position_effects(answers: Iterable[Answer]) -> list[PositionEffect]:
    """The effect of position in single displays, for each number of options; answered only."""
    by_length: dict[int, list[Answer]] = defaultdict(list)
    for answer in answers:
        if answer.outcome == "answered":
            by_length[len(answer.question.options)].append(answer)
    return [_effect(length, by_length[length]) for length in sorted(by_length)]


def reversal_distance(answers: Iterable[Answer], scheme: OrderScheme) -> float:
    """How far answers move when every list is turned round: mean total variation, in [0, 1].

    Compares the mean over the orders of ``scheme`` with the mean over the same orders
    reversed; 0 is an answer free of position effects. For ``given`` this is the position
    effect of one display, for ``rotations`` what averaging over them leaves. Both need
    answers that were asked in the orders and in their reversals (``all`` has them).

    Returns
    -------
    The mean over answered cells; NaN if there are none.

    Raises
    ------
    CalibError
        If an order or its reversal was not asked.
    """
    distances = []
    for answer in answers:
        if answer.outcome == "answered":
            orders = option_orders(answer.question, scheme)
            turned = [_reversed(answer.question, order) for order in orders]
            difference = _mean_over(answer, orders) - _mean_over(answer, turned)
            distances.append(0.5 * float(np.abs(difference).sum()))
    return float(np.mean(distances)) if distances else float("nan")


def _effect(n_options: int, answers: Sequence[Answer]) -> PositionEffect:
    shares = []
    gains = []
    moved = np.zeros(n_options, dtype=bool)
    for answer in answers:
        orders = np.array(list(answer.by_order))
        displayed = np.array([answer.in_order(order)[list(order)] for order in answer.by_order])
        shares.append(displayed.mean(axis=0))
        gains.append((displayed - answer.shares[orders]).mean(axis=0))
        moved |= (orders != orders[0]).any(axis=0)
    effect = np.where(moved, np.mean(gains, axis=0), np.nan)
    return PositionEffect(n_options, len(answers), np.mean(shares, axis=0), effect)


def _reversed(question: Question, order: Order) -> Order:
    n_moving = sum(option.kind == "substantive" for option in question.options)
    return order[:n_moving][::-1] + order[n_moving:]


def _mean_over(answer: Answer, orders: Sequence[Order]) -> Float[np.ndarray, " option"]:
    missing = [order for order in orders if order not in answer.by_order]
    if missing:
        raise CalibError(
            f"the distance to the reversed list needs both lists asked; question "
            f"{answer.question.id!r} was not asked in the order {missing[0]}; "
            "ask with orders 'all'"
        )
    mean: np.ndarray = np.mean([answer.in_order(order) for order in orders], axis=0)
    return mean
