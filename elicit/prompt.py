"""From a question and a group to a prompt with lettered options, in a stated order."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from string import ascii_uppercase
from typing import Final, Literal, get_args

from calib.errors import CalibError
from calib.survey import Group, Question
from elicit.types import Message

Order = tuple[int, ...]
"""``order[position]`` is the place, in the question's options, of the option shown there."""
OrderScheme = Literal["given", "reversed", "both", "rotations", "all"]
ORDER_SCHEMES: Final[tuple[str, ...]] = get_args(OrderScheme)
MOST_PERMUTED: Final = 4
"""Most substantive options of which all permutations are asked: 24 calls a cell."""

TEMPLATE: Final = "sd-qa/1"
_SYSTEM: Final = (
    "You answer survey questions as the person described would. "
    "Reply with the letter of one option and nothing else."
)
_PERSONA: Final = "Question: {wording}\nAnswer: {group}"
_TASK: Final = "Answer the next question as the same person."
_QUESTION: Final = "Question: {text}\n{options}\nAnswer:"


def persona_messages(
    question: Question, group: Group, order: Order, wordings: Mapping[str, str]
) -> tuple[Message, ...]:
    """The ``sd`` prompt in QA wording: the persona is a survey question already answered.

    What varies least stands first (instruction, persona, question, options), so that a
    server that caches prompts computes the shared beginning once.

    Parameters
    ----------
    order
        The options as displayed; ``order[position]`` is a place in ``question.options``.
    wordings
        The question that asks for an attribute, by attribute; one that is not there is
        asked as "What is your ...?".

    Raises
    ------
    CalibError
        If there are more options than letters or the order is not one of all options.
    """
    _check_letters(question)
    n_options = len(question.options)
    if sorted(order) != list(range(n_options)):
        raise CalibError(
            f"an order names each of the {n_options} options of question {question.id!r} once; "
            f"got {order}; take one from prompt.option_orders"
        )
    wording = wordings.get(group.attribute, f"What is your {group.attribute}?")
    options = "\n".join(
        f"{letter}. {_one_line(question.options[place].label)}"
        for letter, place in zip(ascii_uppercase, order, strict=False)
    )
    parts = (
        _PERSONA.format(wording=wording, group=group.name),
        _TASK,
        _QUESTION.format(text=question.text, options=options),
    )
    return (Message("system", _SYSTEM), Message("user", "\n\n".join(parts)))


def option_orders(question: Question, scheme: OrderScheme) -> tuple[Order, ...]:
    """The orders in which a question is asked.

    - ``given``, ``reversed``: one order; ``both``: these two. The middle option of an odd
      number stays in the middle, so its position effect remains.
    - ``rotations``: each option once in each position: position effects that do not depend
      on the neighbours cancel.
    - ``all``: every permutation of up to ``MOST_PERMUTED`` options.

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
        For an unknown scheme, ``all`` of too many options, or more options than letters.
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
        case _:
            raise CalibError(
                f"orders must be one of {', '.join(ORDER_SCHEMES)}; got {scheme!r}; "
                "use one of these words"
            )
    return tuple(order + last for order in moved)


def _check_letters(question: Question) -> None:
    if len(question.options) > len(ascii_uppercase):
        raise CalibError(
            f"a lettered question has at most {len(ascii_uppercase)} options; question "
            f"{question.id!r} has {len(question.options)}; merge options or ask for a "
            "verbalized answer"
        )


def _one_line(label: str) -> str:
    """A label within its own line, so that it cannot pass for another option."""
    return " ".join(label.split())
