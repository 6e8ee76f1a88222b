"""The doctor: a model that knows the truth is sound, and each disease is found by its name."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stub_server import StubServer
from survey_files import call, write_survey

from calib.survey import ELICITATIONS
from elicit.answers import Answer, Display
from elicit.budget import Meter
from elicit.doctor import (
    Diagnosis,
    MethodCheck,
    examine_job,
    judge,
    lay_out_checks,
    sample,
)
from elicit.fake import FakeClient
from elicit.job import Job, read_job
from elicit.known import known_questions
from elicit.prompt import POPULATION
from elicit.table import Elicitation
from elicit.types import Capabilities, Reply, Request


def a_job(folder: Path, elicitation: object = "verbalized", **ask: object) -> Job:
    survey = write_survey(
        folder / "survey.toml",
        model={"fake": True},
        ask={"elicitation": elicitation, **ask},
        n_questions=6,
    )
    return read_job(survey)


def truthful(prompt: str, label: str) -> float:
    """Reads the chances off the question; knows nothing of other questions."""
    coin = re.search(r"heads up in (\d+) % of tosses and tails up in (\d+) %", prompt)
    if coin:
        return math.log(int(coin[1 if label == "Heads" else 2]))
    face = re.search(r"\((\d)\)", label)
    if face:
        found = re.search(rf"{face[1]} in (\d+) %", prompt)
        assert found is not None
        return math.log(int(found[1]))
    return 0.0


def examine(
    monkeypatch: pytest.MonkeyPatch,
    job: Job,
    *,
    capabilities: Capabilities | None = None,
    meter: Meter | None = None,
    kind: type[FakeClient] = FakeClient,
    **settings: Any,
) -> Diagnosis:
    def made(**_given: object) -> FakeClient:
        client = kind(**settings)
        if capabilities is not None:
            client.capabilities = capabilities
        return client

    monkeypatch.setattr("elicit.fake.FakeClient", made)
    return asyncio.run(examine_job(job, meter or Meter()))


def check_of(diagnosis: Diagnosis, elicitation: str) -> MethodCheck:
    return next(one for one in diagnosis.checks if one.elicitation == elicitation)


def test_known_distributions_follow_from_the_texts() -> None:
    for known in known_questions():
        weights = [truthful(known.question.text, option.label) for option in known.question.options]
        np.testing.assert_allclose(np.exp(weights) / np.exp(weights).sum(), known.truth)


def test_a_model_that_knows_the_truth_is_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    diagnosis = examine(monkeypatch, a_job(tmp_path), preference=truthful)
    assert [check.elicitation for check in diagnosis.checks] == list(ELICITATIONS)
    assert diagnosis.problems == ()
    assert set(diagnosis.usable) == set(ELICITATIONS)
    for check in diagnosis.checks:
        assert check.outcomes == {"answered": check.n_replies}
        assert check.in_survey is (check.elicitation == "verbalized")
    for name in ("verbalized", "logprob"):
        check = check_of(diagnosis, name)
        assert check.tv == pytest.approx(0, abs=1e-7)
        assert check.w1 == pytest.approx(0, abs=1e-7)
        assert check.tv_by_chance == 0
        assert check.reversal_distance == pytest.approx(0, abs=1e-7)
    for name in ("self_random", "paraphrase", "sequence"):
        check = check_of(diagnosis, name)
        assert 0.4 < check.tv / check.tv_by_chance < 1.8
        assert 0.6 < check.reversal_distance / check.reversal_by_chance < 1.6
    assert check_of(diagnosis, "logprob").captured_mass == pytest.approx(0.8)


def test_equal_shares_are_no_knowledge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    diagnosis = examine(monkeypatch, a_job(tmp_path))
    (problem,) = diagnosis.problems
    assert problem.startswith("verbalized: no nearer to known distributions than equal shares")
    check = check_of(diagnosis, "verbalized")
    assert check.tv == pytest.approx(check.tv_uniform)


def test_a_position_bias_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bias = (2.0, 0.0, 0.0, 0.0, 0.0, -2.0)
    diagnosis = examine(monkeypatch, a_job(tmp_path), preference=truthful, position_bias=bias)
    assert check_of(diagnosis, "verbalized").reversal_distance > 0.3
    assert any("when the list is reversed" in problem for problem in diagnosis.problems)


def test_mass_that_falls_on_words_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    diagnosis = examine(monkeypatch, a_job(tmp_path, "logprob"), preference=truthful, mass=0.2)
    (problem,) = diagnosis.problems
    assert "20% of the first token's probability falls on letters" in problem


def test_diseases_of_other_elicitations_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    diagnosis = examine(monkeypatch, a_job(tmp_path), preference=truthful, mass=0.2)
    assert diagnosis.problems == ()
    assert "logprob" not in diagnosis.usable


def test_refusals_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Reluctant(FakeClient):
        async def complete(self, request: Request) -> Reply:
            answer = await super().complete(request)
            return Reply("refused", detail="no") if len(self.requests) % 3 == 0 else answer

    diagnosis = examine(monkeypatch, a_job(tmp_path), preference=truthful, kind=Reluctant)
    assert any("replies give no answer (at most 10%)" in one for one in diagnosis.problems)
    assert check_of(diagnosis, "verbalized").outcomes["refused"] > 0


def test_what_the_endpoint_cannot_do_is_skipped_and_a_problem_where_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    able = Capabilities(json_schema=True)
    job = a_job(tmp_path, ["verbalized", "logprob"])
    diagnosis = examine(monkeypatch, job, preference=truthful, capabilities=able)
    assert set(diagnosis.skipped) == {"logprob"}
    (problem,) = diagnosis.problems
    assert "'verbalized' instead" in problem
    only = examine(monkeypatch, a_job(tmp_path), preference=truthful, capabilities=able)
    assert only.problems == ()


def test_nothing_answered_is_undefined_and_a_problem() -> None:
    (known, *_) = known_questions()
    lost = Display((0, 1), "unparsable", np.full(2, np.nan))
    answers = (Answer(known.question, POPULATION, (lost, Display((1, 0), *_rest(lost)))),)
    check = judge(Elicitation("m", "verbalized", "base", answers), in_survey=True)
    assert math.isnan(check.tv) and math.isnan(check.w1)
    assert any("no question with a known distribution" in one for one in check.problems)


def _rest(display: Display) -> tuple[Any, ...]:
    return display.outcome, display.shares


def test_distances_by_hand() -> None:
    known = next(one for one in known_questions() if one.question.id == "die-low")
    shares = np.array([0.5, 0.1, 0.1, 0.1, 0.1, 0.1])  # a tenth moved from two to one
    displays = tuple(
        Display(order, "answered", shares) for order in [(0, 1, 2, 3, 4, 5), (5, 4, 3, 2, 1, 0)]
    )
    answer = Answer(known.question, POPULATION, displays)
    check = judge(Elicitation("m", "sequence", "base", (answer,)), in_survey=True)
    assert check.tv == pytest.approx(0.1)
    assert check.w1 == pytest.approx(0.1 / 5)
    assert check.tv_uniform == pytest.approx((0.4 - 1 / 6) + (0.2 - 1 / 6))
    # Two replies of 30: by simulation, what drawing from the truth gives.
    generator = np.random.default_rng(0)
    drawn = generator.multinomial(60, known.truth, size=20_000) / 60
    by_chance = 0.5 * np.abs(drawn - known.truth).sum(axis=1).mean()
    assert check.tv_by_chance == pytest.approx(by_chance, rel=0.05)


def test_the_survey_is_sampled_evenly(tmp_path: Path) -> None:
    questions = a_job(tmp_path).questionnaire.questions
    assert [one.id for one in sample(questions, 3)] == ["q0", "q2", "q4"]
    assert sample(questions[:2]) == list(questions[:2])
    asked = {cell.question.id for cell in lay_out_checks(a_job(tmp_path)).cells}
    assert len(asked) == 4 + 4
    assert all(cell.group == POPULATION for cell in lay_out_checks(a_job(tmp_path)).cells)


def document(run: Any) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(run.stdout)
    return found


def test_the_command_says_what_a_server_can_do_and_ends_with_its_verdict(tmp_path: Path) -> None:
    with StubServer(tmp_path / "log", ignores=["logprobs"]) as server:
        survey = write_survey(
            tmp_path / "survey.toml",
            model={"name": "stub", "base_url": server.url},
            ask={"elicitation": "verbalized", "at_once": 16},
        )
        run = call("doctor", survey, "--json")
        shown = call("doctor", survey)
        few = call("doctor", survey, "--max-calls", "3")
    found = document(run)
    # The stub's opinions know nothing of coins: it is for the verdict to say so.
    assert run.exit_code == (0 if found["sound"] else 1)
    assert found["capabilities"]["top_logprobs"] == 0
    assert set(found["skipped"]) == {"logprob"}
    assert found["calls"]["made"] > 100
    assert {check["elicitation"] for check in found["checks"]} == set(ELICITATIONS) - {"logprob"}
    assert "may be used" in shown.stdout
    assert shown.exit_code == run.exit_code
    assert few.exit_code == 1
    assert "3 calls were made, the most allowed" in few.stderr
