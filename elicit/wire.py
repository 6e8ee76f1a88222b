"""Requests and replies in the form of the OpenAI interface: pure functions of plain values."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal

from elicit.types import Capabilities, Reply, Request, TokenLogprob

Api = Literal["chat", "completions"]
TokenLimit = Literal["max_tokens", "max_completion_tokens"]
"""The two names under which endpoints know the most tokens of a reply."""
PATHS: Final[Mapping[Api, str]] = {"chat": "/chat/completions", "completions": "/completions"}
QUOTED: Final = 300
"""Most characters of an endpoint's own words in a detail."""

_TRANSIENT: Final = frozenset({408, 409, 425, 429})
_NOT_IMPLEMENTED: Final = frozenset({501, 505})
_NO_MONEY: Final = "insufficient_quota"


def body_of(
    request: Request,
    *,
    api: Api = "chat",
    capabilities: Capabilities | None = None,
    token_limit: TokenLimit = "max_tokens",
) -> dict[str, object]:
    """The JSON body that asks an endpoint for one reply.

    What the endpoint is known to refuse is left out. One draw is one request: ``n`` is
    never sent, as some endpoints refuse it and others ignore it.

    Parameters
    ----------
    capabilities
        What the endpoint can do; None where that is not known: then everything is sent but
        the JSON Schema and the seed, which many refuse and no method must have.
    """
    known = Capabilities(top_logprobs=request.top_logprobs or 0)
    can = known if capabilities is None else capabilities
    body: dict[str, object] = {"model": request.model}
    if api == "chat":
        body["messages"] = [
            {"role": message.role, "content": message.content} for message in request.messages
        ]
    else:
        body["prompt"] = "\n\n".join(message.content for message in request.messages)
    if request.max_tokens is not None:
        body[token_limit if api == "chat" else "max_tokens"] = request.max_tokens
    if request.temperature is not None and can.temperature:
        body["temperature"] = request.temperature
    top = min(request.top_logprobs or 0, can.top_logprobs)
    if top:
        body |= {"logprobs": True, "top_logprobs": top} if api == "chat" else {"logprobs": top}
    if can.seed:
        body["seed"] = request.draw
    if request.json_schema is not None and can.json_schema and api == "chat":
        schema = {"name": "answer", "strict": True, "schema": json.loads(request.json_schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def read_answer(answer: object) -> Reply:
    """The reply in the body of a successful call, of either interface.

    A body that is not of their form is a transient failure: proxies send such while a
    server starts or stops.

    Parameters
    ----------
    answer
        The parsed JSON, or the text that could not be parsed.
    """
    try:
        if not isinstance(answer, Mapping):
            raise TypeError
        if "choices" not in answer and "error" in answer:
            # Some gateways send errors with status 200 and put the status into the body.
            code = _error(answer).get("code")
            return read_error(code if isinstance(code, int) else 500, answer)
        return _reply(answer)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        shown = answer if isinstance(answer, str) else json.dumps(answer)
        detail = f"the endpoint's answer is not of the OpenAI form: {_cut(shown)!r}"
        return Reply("failed", detail=detail, transient=True)


def read_error(status: int, body: object, headers: Mapping[str, str] | None = None) -> Reply:
    """The reply for a call that the endpoint answered with an error status.

    Rate limits, time-outs and faults of the server are transient; a wrong key, an unknown
    model, a refused parameter and an empty account are not. A provider's content filter is
    a refusal.
    """
    message, code = _words(body)
    if "content_filter" in code or "content_policy" in code:
        return Reply("refused", detail=f"the provider withheld an answer: {message}")
    match status:
        case 401:
            # The endpoint's own words often quote the key.
            said = "the endpoint did not accept the API key (401); give a valid key"
        case 403:
            said = f"the API key may not do this (403): {message}; use another key or model"
        case 404:
            said = (
                f"the endpoint does not know this model or address (404): {message}; check the "
                "model's name and the base URL, which mostly ends in /v1"
            )
        case 429 if code == _NO_MONEY:
            said = f"the account is out of money (429): {message}; top it up or use another key"
        case 429:
            said = f"the endpoint's rate limit is reached (429): {message}; ask more slowly"
        case _ if status >= 500:
            said = f"the endpoint failed ({status}): {message}; try again later"
        case _:
            said = f"the endpoint refused the request ({status}): {message}"
    may_pass = status in _TRANSIENT or (status >= 500 and status not in _NOT_IMPLEMENTED)
    transient = may_pass and code != _NO_MONEY
    wait = seconds_to_wait(headers or {}) if transient else None
    return Reply("failed", detail=said, transient=transient, retry_after=wait)


def other_limit(body: object, sent: TokenLimit) -> TokenLimit | None:
    """The other name of the token limit where an error says that ``sent`` is not known."""
    other: TokenLimit = "max_completion_tokens" if sent == "max_tokens" else "max_tokens"
    message, code = _words(body)
    unknown = code == "unsupported_parameter" and _error(body).get("param") == sent
    suggested = sent in message and other in message
    return other if unknown or suggested else None


def seconds_to_wait(headers: Mapping[str, str]) -> float | None:
    """What ``retry-after-ms`` or ``retry-after`` (seconds or a date) asks for, if anything.

    >>> seconds_to_wait({"retry-after": "1.5"})
    1.5
    >>> seconds_to_wait({"retry-after": "soon"}) is None
    True
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        said = headers.get(name, "")
        try:
            seconds = float(said) * unit
        except ValueError:
            continue
        if math.isfinite(seconds):
            return max(seconds, 0.0)
    try:
        moment = parsedate_to_datetime(headers.get("retry-after", ""))
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max((moment - datetime.now(UTC)).total_seconds(), 0.0)


def _reply(answer: Mapping[str, Any]) -> Reply:
    choice = answer["choices"][0]
    message = choice.get("message")
    content = choice["text"] if message is None else message.get("content")
    if isinstance(content, list):  # parts, of which the texts count
        content = "".join(part.get("text") or "" for part in content)
    if content is not None and not isinstance(content, str):
        raise TypeError
    declined = (message or {}).get("refusal")
    finish = choice.get("finish_reason") or ""
    usage = answer.get("usage") or {}
    reply = Reply(
        "answered",
        text=content or "",
        first_token=first_tokens(choice.get("logprobs")),
        finish=str(finish),
        tokens_in=_count(usage.get("prompt_tokens")),
        tokens_out=_count(usage.get("completion_tokens")),
    )
    if declined:
        detail = "the model declined to answer"
        return replace(reply, outcome="refused", text=str(declined), detail=detail)
    if finish == "content_filter":
        detail = "the provider's content filter withheld the answer"
        return replace(reply, outcome="refused", detail=detail)
    return reply


def first_tokens(logprobs: Any) -> tuple[TokenLogprob, ...]:
    """The candidates for the first token, likeliest first, from any of the known shapes.

    Chat: ``{"content": [{"top_logprobs": [{"token", "logprob"}, ...]}, ...]}`` (llama.cpp
    has it for completions too); completions: ``{"top_logprobs": [{token: logprob}, ...]}``.
    A candidate without a number is left out; empty where there are none.
    """
    if not logprobs:
        return ()
    pairs: list[tuple[Any, Any]] = []
    if logprobs.get("content"):
        listed = logprobs["content"][0].get("top_logprobs") or []
        pairs = [(candidate["token"], candidate.get("logprob")) for candidate in listed]
    elif logprobs.get("top_logprobs"):
        pairs = list((logprobs["top_logprobs"][0] or {}).items())
    found = [
        TokenLogprob(str(token), float(value))
        for token, value in pairs
        if isinstance(value, int | float) and not math.isnan(value)
    ]
    return tuple(sorted(found, key=lambda candidate: -candidate.logprob))


def _count(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _error(body: object) -> Mapping[str, Any]:
    """The error object, which some endpoints send bare and others as ``error``."""
    if isinstance(body, Mapping):
        inner = body.get("error", body)
        return inner if isinstance(inner, Mapping) else {"message": inner}
    return {"message": body or ""}


def _words(body: object) -> tuple[str, str]:
    error = _error(body)
    message = error.get("message") or error.get("detail") or ""
    return _cut(str(message)), str(error.get("code") or error.get("type") or "")


def _cut(text: str) -> str:
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= QUOTED else one_line[:QUOTED] + " …"


def parsed(text: str) -> object:
    """The value of a JSON text, or the text itself where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return text
