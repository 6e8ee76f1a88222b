"""From a question and a group to a prompt with lettered options, in a stated order."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from string import ascii_uppercase
from typing import Final, Literal, get_args

from calib.errors import CalibError
from calib.survey import Group, Question
from elicit.template import Template, fill
from elicit.types import Message

Order = tuple[int, ...]
"""``order[position]`` is the place, in the question's options, of the option shown there."""
OrderScheme = Literal["given", "reversed", "both", "rotations", "all", "permuted"]
ORDER_SCHEMES: Final[tuple[str, ...]] = get_args(OrderScheme)
MOST_PERMUTED: Final = 4
"""Most substantive options of which all permutations are asked: 24 calls a cell."""
PERMUTATIONS: Final = 4
"""Permutations that ``permuted`` asks unless told otherwise."""

POPULATION: Final = Group("all", "all")
"""Everybody who was asked: a group without an attribute, hence without a persona."""


@dataclass(frozen=True)
class Example:
    """A known human distribution, for few-shot prompts."""

    question: Question
    group: Group
    shares: tuple[float, ...]
    """By the question's options; sum to one."""


def messages(
    template: Template,
    elicitation: str,
    question: Question,
    group: Group,
    order: Order,
    *,
    wordings: Mapping[str, str],
    examples: Sequence[Example] = (),
    answers: int = 0,
) -> tuple[Message, ...]:
    """The messages that put a question, with its options in an order, on behalf of a group.

    What varies least stands first in the shipped templates (instruction, persona, question,
    options), so that a server that caches prompts computes the shared beginning once.

    Parameters
    ----------
    order
        The options as displayed; ``order[position]`` is a place in ``question.options``.
    wordings
        The question that asks for an attribute, by attribute; one that is not there is
        asked as "What is your ...?".
    examples
        Known answers, shown where the template has a place for them; see
        ``usable_examples``.
    answers
        Simulated answers asked for; 0 where the elicitation asks for shares or one letter.

    Raises
    ------
    CalibError
        If the template has no such elicitation, there are more options than letters, the
        order is not one of all options, or the group or the examples that the template
        speaks of are missing.
    """
    task = template.task(elicitation)
    _check_letters(question)
    _check_order(question, order)
    letters = ascii_uppercase[: len(order)]
    labels = [one_line(question.options[place].label) for place in order]
    values = {
        "question": question.text,
        "options": _listed(letters, labels),
        "letters": ", ".join(letters),
        "form": _form(letters, answers),
        "count": str(answers),
        "persona": "" if template.prompt == "base" else _persona(template, group, wordings),
        "examples": "",
    }
    if template.prompt == "fewshot":
        values["examples"] = _shown(template, question, group, examples)
    user = Message("user", fill(task.user, values))
    return (Message("system", fill(task.system, values)), user) if task.system else (user,)


def usable_examples(
    question: Question, group: Group, examples: Sequence[Example]
) -> tuple[tuple[Example, ...], int]:
    """The group's examples that may be shown with a question, and how many may not.

    An example of the question itself (same id, or same text under another id) would give
    the answer away.
    """
    of_group = [example for example in examples if example.group == group]
    kept = tuple(example for example in of_group if not _same(example.question, question))
    return kept, len(of_group) - len(kept)


def option_orders(
    question: Question,
    scheme: str,
    *,
    permuted: int = PERMUTATIONS,
    seed: int = 0,
) -> tuple[Order, ...]:
    """The orders in which a question is asked.

    - ``given``, ``reversed``: one order; ``both``: these two. The middle option of an odd
      number stays in the middle, so its position effect remains.
    - ``rotations``: each option once in each position: position effects that do not depend
      on the neighbours cancel.
    - ``all``: every permutation of up to ``MOST_PERMUTED`` options.
    - ``permuted``: so many different random permutations, all where there are no more. They
      depend on the seed and the question alone.

    Only substantive options move; don't-know and the like stay last, where surveys have
    them.

    >>> from calib.survey import Option
    >>> labels = ("less", "same", "more")
    >>> options = tuple(Option(place, label, float(place)) for place, label in enumerate(labels))
    >>> option_orders(Question("s", "q", "?", "ordinal", options), "rotations")
    ((0, 1, 2), (1, 2, 0), (2, 0, 1))

    Raises
    ------
    CalibError
        For an unknown scheme, ``all`` of too many options, less than one permutation, or
        more options than letters.
    """
    _check_letters(question)
    kinds = [option.kind for option in question.options]
    moving = tuple(place for place, kind in enumerate(kinds) if kind == "substantive")
    last = tuple(place for place, kind in enumerate(kinds) if kind != "substantive")
    moved: tuple[Order, ...]
    match scheme:
        case "given":
            moved = (moving,)
        case "reversed":
            moved = (moving[::-1],)
        case "both":
            moved = (moving, moving[::-1])
        case "rotations":
            moved = tuple(moving[start:] + moving[:start] for start in range(len(moving)))
        case "all":
            if len(moving) > MOST_PERMUTED:
                raise CalibError(
                    f"all orders are asked of at most {MOST_PERMUTED} options; question "
                    f"{question.id!r} has {len(moving)}; use 'rotations' or 'both'"
                )
            moved = tuple(permutations(moving))
        case "permuted":
            moved = _random_orders(question, moving, permuted, seed)
        case _:
            raise CalibError(
                f"orders must be one of {', '.join(ORDER_SCHEMES)}; got {scheme!r}; "
                "use one of these words"
            )
    return tuple(order + last for order in moved)


def _check_letters(question: Question) -> None:
    """Raise ``CalibError`` if a question has more options than there are letters."""
    if len(question.options) > len(ascii_uppercase):
        raise CalibError(
            f"a lettered question has at most {len(ascii_uppercase)} options; question "
            f"{question.id!r} has {len(question.options)}; merge options"
        )


def one_line(label: str) -> str:
    """A label within its own line, so that it cannot pass for another option."""
    return " ".join(label.split())


def _check_order(question: Question, order: Order) -> None:
    n_options = len(question.options)
    if sorted(order) != list(range(n_options)):
        raise CalibError(
            f"an order names each of the {n_options} options of question {question.id!r} once; "
            f"got {order}; take one from prompt.option_orders"
        )


def _listed(letters: str, labels: Sequence[str]) -> str:
    return "\n".join(f"{letter}. {label}" for letter, label in zip(letters, labels, strict=True))


def _form(letters: str, answers: int) -> str:
    if answers:
        return '{"answers": ["<letter>", "<letter>", ...]}'
    return "{" + ", ".join(f"{json.dumps(letter)}: <number>" for letter in letters) + "}"


def _persona(template: Template, group: Group, wordings: Mapping[str, str]) -> str:
    if group == POPULATION:
        raise CalibError(
            f"a persona is of a group with an attribute; the template {template.name!r} was to "
            "present the whole population; ask for the population with the template 'base'"
        )
    wording = wordings.get(group.attribute, f"What is your {group.attribute}?")
    return fill(template.persona, {"wording": wording, "group": group.name})


def _shown(
    template: Template, question: Question, group: Group, examples: Sequence[Example]
) -> str:
    kept, left_out = usable_examples(question, group, examples)
    if not kept:
        raise CalibError(
            "a few-shot prompt shows how the group answered other questions; there are none for "
            f"{group} beside question {question.id!r} ({left_out} of the question itself left "
            "out); add examples or use a template without them"
        )
    return "\n\n".join(
        fill(
            template.example,
            {"question": example.question.text, "options": _with_shares(example)},
        )
        for example in kept
    )


def _with_shares(example: Example) -> str:
    """Without letters, which belong to the question that is asked."""
    return "\n".join(
        f"- {one_line(option.label)}: {100 * share:.3g}%"
        for option, share in zip(example.question.options, example.shares, strict=True)
    )


def _same(one: Question, other: Question) -> bool:
    return one.key == other.key or one_line(one.text).lower() == one_line(other.text).lower()


def _random_orders(
    question: Question, moving: tuple[int, ...], wanted: int, seed: int
) -> tuple[Order, ...]:
    """Different permutations, the same for ever: sorted by hashes, not by a library's generator."""
    if wanted < 1:
        raise CalibError(
            f"permuted asks at least one permutation; got {wanted}; give a number from 1"
        )

    orders: dict[Order, None] = {}
    number = 0
    while len(orders) < min(wanted, math.factorial(len(moving))):
        ranks = {place: _hash(question, seed, number, place) for place in moving}
        orders[tuple(sorted(moving, key=ranks.__getitem__))] = None
        number += 1
    return tuple(orders)


def _hash(question: Question, seed: int, number: int, place: int) -> bytes:
    text = json.dumps([question.survey, question.id, seed, number, place])
    return hashlib.sha256(text.encode()).digest()
