"""Whole jobs: what a survey file asks for, what of it is sent, and what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from survey_files import write_survey

from calib.errors import CalibError, DataError
from elicit.budget import Meter, Prices
from elicit.job import Finished, Job, forecast, read_job, run_job
from elicit.send import Memory, StoppedError
from elicit.table import paired_table
from elicit.types import Reply

FAKE: Mapping[str, object] = {"fake": True}


def job(folder: Path, *, model: Mapping[str, object] = FAKE, **ask: object) -> Job:
    ask.setdefault("elicitation", "logprob")
    return read_job(write_survey(folder / "survey.toml", model=model, ask=ask))


def run(job: Job, memory: Memory, meter: Meter | None = None) -> Finished:
    known = memory.get_many(list(job.work.requests))
    return asyncio.run(run_job(job, memory, meter or Meter(), known=known))


def test_every_elicitation_with_every_template_is_a_setting(tmp_path: Path) -> None:
    found = job(tmp_path, elicitation=["logprob", "verbalized"], template=["base", "sd-qa"])
    settings = [(one.method.elicitation, one.prompt) for one in found.work.settings]
    assert settings == [
        ("logprob", "base"), ("verbalized", "base"), ("logprob", "sd"), ("verbalized", "sd"),
    ]  # fmt: skip
    # Four questions and groups in both orders; verbalized by three draws.
    assert len(found.work.cells) == 4 * 4


def test_templates_of_one_prompt_stand_under_their_own_names(tmp_path: Path) -> None:
    found = job(tmp_path, template=["sd-qa", "sd-bio", "base"])
    assert [one.prompt for one in found.work.settings] == ["sd-qa", "sd-bio", "base"]
    table = paired_table(run(found, Memory()).results)
    assert len(table) == len(
        table.drop_duplicates(["question_id", "option_index", "group", "prompt"])
    )


def test_without_a_persona_all_groups_share_their_calls(tmp_path: Path) -> None:
    found = job(tmp_path, template="base")
    assert len(found.work.cells) == 4
    assert len(found.work.requests) == 2 * 2  # two questions in two orders
    outcome = run(found, Memory())
    assert outcome.n_sent == 4
    assert outcome.results[0].counts["cells_answered"] == 4


def test_a_users_template_is_found_beside_the_survey(tmp_path: Path) -> None:
    mine = """name = "mine"
version = 3
prompt = "base"
[logprob]
user = "Well: {question} {options}"
"""
    (tmp_path / "mine.toml").write_text(mine, encoding="utf-8")
    found = job(tmp_path, template="mine.toml")
    (setting,) = found.work.settings
    assert setting.prompt == "mine"
    request = next(iter(found.work.requests.values()))
    assert request.template == "mine/3"
    assert request.messages[-1].content.startswith("Well: How much of thing number 0?")


def test_two_templates_of_one_name_are_refused(tmp_path: Path) -> None:
    mine = 'name = "mine"\nversion = 1\nprompt = "base"\n[logprob]\nuser = "{question}{options}"\n'
    for name in ("one.toml", "two.toml"):
        (tmp_path / name).write_text(mine, encoding="utf-8")
    with pytest.raises(CalibError, match=r"a name of its own.*mine, mine"):
        job(tmp_path, template=["one.toml", "two.toml"])


def test_all_faults_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "survey.toml"
    path.write_text('survey = 1\n[model]\nfake = 7\n[ask]\norders = "x"\n', encoding="utf-8")
    with pytest.raises(DataError) as raised:
        read_job(path)
    said = str(raised.value)
    for part in ("survey", "fake is true or", "'x' in ask.orders", "survey.toml"):
        assert part in said


def test_what_is_in_the_store_is_not_asked(tmp_path: Path) -> None:
    found, memory = job(tmp_path), Memory()
    first = run(found, memory)
    assert (first.n_sent, first.n_from_store) == (8, 0)
    meter = Meter()
    second = run(found, memory, meter)
    assert (second.n_sent, second.n_from_store, meter.calls) == (0, 8, 0)
    assert paired_table(second.results).equals(paired_table(first.results))


def test_more_questions_ask_only_themselves(tmp_path: Path) -> None:
    memory = Memory()
    run(job(tmp_path), memory)
    path = write_survey(
        tmp_path / "survey.toml", model=FAKE, ask={"elicitation": "logprob"}, n_questions=3
    )
    assert run(read_job(path), memory).n_sent == 4


def test_a_forecast_counts_what_is_missing(tmp_path: Path) -> None:
    found, memory = job(tmp_path, prices={"in": 1.0, "out": 2.0}), Memory()
    before = forecast(found, {})
    assert (before["cells"], before["requests"], before["calls"]) == (4, 8, 8)
    tokens_in, tokens_out = before["tokens_in_estimate"], before["tokens_out_at_most"]
    assert tokens_out == 8  # one token each
    assert before["cost_at_most"] == pytest.approx((tokens_in + 2 * tokens_out) / 1e6)
    run(found, memory)
    after = forecast(found, memory.replies)
    assert (after["calls"], after["from_store"], after["cost_at_most"]) == (0, 8, 0)


def test_a_forecast_without_prices_knows_no_cost(tmp_path: Path) -> None:
    assert forecast(job(tmp_path), {})["cost_at_most"] is None


def test_more_calls_than_allowed_are_refused_before_the_first(tmp_path: Path) -> None:
    memory, meter = Memory(), Meter(max_calls=7)
    with pytest.raises(CalibError, match="needs 8 calls and 7 are allowed"):
        run(job(tmp_path), memory, meter)
    assert memory.replies == {}
    run(job(tmp_path), memory, Meter(max_calls=8))
    assert len(memory.replies) == 8


def test_a_run_stops_before_the_most_cost_and_goes_on_later(tmp_path: Path) -> None:
    found, memory = job(tmp_path), Memory()
    prices = Prices(tokens_in=1.0, tokens_out=1.0)
    whole = Meter(prices=prices)
    run(found, Memory(), whole)
    half = Meter(prices=prices, max_cost=whole.cost / 2)
    with pytest.raises(StoppedError, match="run again to go on"):
        run(found, memory, half)
    assert 0 < half.calls < 8
    assert half.cost <= whole.cost / 2
    outcome = run(found, memory, Meter(prices=prices))
    assert (outcome.n_from_store, outcome.n_sent) == (half.calls, 8 - half.calls)


def test_failed_calls_are_asked_again(tmp_path: Path) -> None:
    class Flaky(Memory):
        """Loses the first reply, as if the call had failed."""

        lost = False

        def put(self, request: object, reply: Reply) -> None:
            if self.lost:
                super().put(request, reply)  # type: ignore[arg-type]
            self.lost = True

    memory = Flaky()
    run(job(tmp_path), memory)
    assert run(job(tmp_path), memory).n_sent == 1


def test_logprobs_are_not_asked_of_what_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from elicit.fake import FakeClient
    from elicit.types import Capabilities

    made: list[FakeClient] = []

    class Mute(FakeClient):
        def __init__(self, **settings: object) -> None:
            super().__init__(**settings)  # type: ignore[arg-type]
            self.capabilities = Capabilities()
            made.append(self)

    monkeypatch.setattr("elicit.fake.FakeClient", Mute)
    with pytest.raises(CalibError, match="'verbalized' instead"):
        run(job(tmp_path), Memory())
    assert [client.requests for client in made] == [[]]
