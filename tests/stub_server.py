"""An endpoint of the OpenAI kind for tests: its own process, faults on demand, a log.

Started by ``StubServer`` (a context manager), or by hand: ``python stub_server.py LOG``.
What it answers depends on the request's body only, so two runs of the same requests get the
same replies, in whatever order. One process with asyncio: it answers thousands a second.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import asdict, dataclass, field
from pathlib import Path
from string import ascii_uppercase
from types import TracebackType
from typing import Any, Self

Json = dict[str, Any]
OPTION = re.compile(r"^([A-Z])\. (.*)$", re.MULTILINE)
SPELLINGS = (("{}", 0.7), (" {}", 0.2), ("({}", 0.1))
LETTER_MASS = 0.8


@dataclass
class Settings:
    """How the endpoint behaves; every field can be changed while it runs."""

    delay: float = 0.0
    """Seconds before each reply."""
    faults: dict[str, Json] = field(default_factory=dict)
    """By the number of the call (from "0") since it was configured: what happens instead.

    ``{"status": 429, "retry_after": "0.05"}`` (any status; optional ``code``, ``message``),
    ``{"body": "not JSON"}`` (a 200 with this text), ``{"hang": true}`` (no answer until the
    client goes away), ``{"close": true}`` (the connection ends without an answer),
    ``{"answer": {...}}`` (this JSON as the answer), ``{"text": "..."}`` (this text in a well
    formed answer), ``{"finish": "content_filter"}``, ``{"refusal": "..."}``.
    """
    refuses: list[str] = field(default_factory=list)
    """Parameters answered with 400: ``max_tokens``, ``temperature``, ``json_schema``, ...
    (``temperature`` only where it is not 1, as reasoning models have it)."""
    ignores: list[str] = field(default_factory=list)
    """Parameters without effect: ``logprobs`` (null comes back), ``json_schema``, ``seed``."""
    most_logprobs: int = 20
    """More are answered with 400."""
    paths: list[str] = field(default_factory=lambda: ["chat/completions", "completions"])
    """Others are answered with 404."""
    api_key: str = ""
    """Any other is answered with 401; empty: none is needed."""
    models: list[str] = field(default_factory=list)
    """Others are answered with 404; empty: all are known."""
    usage: bool = True
    """Whether replies count their tokens."""
    text: str | None = None
    """The text of every answer; None: letters, percentages or letters in a row, as asked."""
    batch_polls: int = 0
    """How often a batch is said to be in progress before it is completed."""


class Refused(Exception):
    """An answer with an error status."""

    def __init__(self, status: int, message: str, *, code: str = "", param: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.error = {
            "message": message,
            "type": "invalid_request_error" if status < 500 else "server_error",
            "param": param or None,
            "code": code or None,
        }


# --- what is answered: pure functions of the settings and the body ---


def completion(settings: Settings, path: str, body: Json, fault: Json) -> Json:
    """The answer to one call."""
    _check(settings, path, body)
    chat = path == "chat/completions"
    prompt = (
        "\n\n".join(str(message["content"]) for message in body["messages"])
        if chat
        else str(body["prompt"])
    )
    ignores = settings.ignores
    if not body.get("logprobs") or "logprobs" in ignores:
        top = 0
    else:
        top = int(body.get("top_logprobs") or 0) if chat else int(body["logprobs"])
    tokens = first_token(prompt)
    text = fault.get("text", settings.text)
    if text is None:
        schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
        if schema is not None and "json_schema" not in ignores:
            text = json.dumps(_in_form(schema, prompt, body))
        else:
            text = reply_text(prompt, body, sampled="seed" not in ignores)
    choice: Json = {"index": 0, "finish_reason": fault.get("finish", "stop"), "logprobs": None}
    if chat:
        choice["message"] = {
            "role": "assistant",
            "content": None if "refusal" in fault else text,
            "refusal": fault.get("refusal"),
        }
        if top:
            listed = [{"token": token, "logprob": value, "bytes": None} for token, value in tokens]
            choice["logprobs"] = {"content": [{**listed[0], "top_logprobs": listed[:top]}]}
    else:
        choice["text"] = text
        if top:
            choice["logprobs"] = {
                "tokens": [tokens[0][0]],
                "token_logprobs": [tokens[0][1]],
                "top_logprobs": [dict(tokens[:top])],
                "text_offset": [0],
            }
    answer: Json = {
        "id": "stub",
        "object": "chat.completion" if chat else "text_completion",
        "created": 0,
        "model": body["model"],
        "choices": [choice],
    }
    if settings.usage:
        used = {"prompt_tokens": len(prompt.split()), "completion_tokens": len(text.split())}
        answer["usage"] = used | {"total_tokens": sum(used.values())}
    return answer


def first_token(prompt: str) -> list[tuple[str, float]]:
    """Spellings of the option letters with known log-probabilities, likeliest first.

    The share of each option is ``shares(prompt)`` at its letter.
    """
    parts = shares(prompt)
    tokens = [
        (spelling.format(letter), math.log(LETTER_MASS * share * part))
        for letter, share in zip(ascii_uppercase, parts, strict=False)
        for spelling, part in SPELLINGS
    ]
    rest = 1 - LETTER_MASS if parts else 1.0
    tokens.append(("The", math.log(0.95 * rest)))
    tokens += [(f"word{number}", math.log(0.05 * rest / 30)) for number in range(30)]
    return sorted(tokens, key=lambda pair: -pair[1])


def shares(prompt: str) -> list[float]:
    """The share that the stub gives to each lettered option of a prompt, in their order.

    The weight of an option hangs on the prompt without its lettered lines (the question and
    the group) and the option's label, not on its place: the stub has no position effect.
    """
    labels = [label for _, label in OPTION.findall(prompt)]
    persona = OPTION.sub("", prompt)
    weights = [0.1 + fraction([persona, label]) for label in labels]
    return [weight / sum(weights) for weight in weights]


def reply_text(prompt: str, body: Json, *, sampled: bool = True) -> str:
    """A letter; percentages where "percent" is asked for; 30 letters where "answers" are."""
    parts = shares(prompt)
    letters = ascii_uppercase[: len(parts)]
    if not parts:
        return f"The {fraction(body if sampled else [prompt, time.time_ns()]):.12f}"
    if "percent" in prompt.lower():
        return json.dumps(
            {letter: round(100 * share, 6) for letter, share in zip(letters, parts, strict=True)}
        )
    if '"answers"' in prompt:
        return json.dumps({"answers": _row(letters, parts, body)})
    if body.get("temperature") == 0:
        return letters[parts.index(max(parts))]
    return _drawn(letters, parts, fraction(body))


def fraction(value: object) -> float:
    """A number in [0, 1) that hangs on the value only."""
    digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
    return int(digest[:12], 16) / 16**12


def _drawn(letters: str, parts: list[float], number: float) -> str:
    below = 0.0
    for letter, part in zip(letters, parts, strict=True):
        below += part
        if number < below:
            return letter
    return letters[-1]


def _in_form(schema: Json, prompt: str, body: Json) -> Json:
    """An object that a JSON Schema allows: percentages by letter, lists of letters, or words."""
    parts = shares(prompt)
    letters = ascii_uppercase[: len(parts)]
    percent = dict(zip(letters, (round(100 * share, 6) for share in parts), strict=True))
    answer: Json = {}
    for name, part in schema["properties"].items():
        if part.get("type") == "array":
            answer[name] = _row(letters, parts, body)
        elif "enum" in part:
            answer[name] = part["enum"][0]
        else:
            answer[name] = percent.get(name, 0.0)
    return answer


def _row(letters: str, parts: list[float], body: Json) -> list[str]:
    return [_drawn(letters, parts, fraction([body, number])) for number in range(30)]


def _check(settings: Settings, path: str, body: Json) -> None:
    if settings.models and body["model"] not in settings.models:
        message = f"The model `{body['model']}` does not exist or you do not have access to it."
        raise Refused(404, message, code="model_not_found", param="model")
    for name in settings.refuses:
        if name == "json_schema":
            if body.get("response_format", {}).get("type") == "json_schema":
                message = "Invalid parameter: 'response_format' of type 'json_schema' is not known"
                raise Refused(400, message, param="response_format")
        elif name in body and not (name == "temperature" and body[name] == 1):
            other = {"max_tokens": " Use 'max_completion_tokens' instead."}.get(name, "")
            message = f"Unsupported parameter: '{name}' is not supported with this model.{other}"
            raise Refused(400, message, code="unsupported_parameter", param=name)
    asked = body.get("top_logprobs" if path == "chat/completions" else "logprobs") or 0
    if asked > settings.most_logprobs:
        message = f"Invalid value for 'top_logprobs': must be at most {settings.most_logprobs}"
        raise Refused(400, message, param="top_logprobs")


# --- the server's process ---


class Endpoint:
    """What all connections share: settings, the log, files and batches."""

    def __init__(self, log: Path) -> None:
        self.settings = Settings()
        self.log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self.number = 0
        self.files: dict[str, str] = {}
        self.batches: dict[str, Json] = {}

    def note(self, **event: object) -> None:
        os.write(self.log, (json.dumps({**event, "at": time.time()}) + "\n").encode())

    async def answer(self, path: str, headers: dict[str, str], content: bytes) -> Any:
        """(status, headers, body) of the answer, or None to close the connection."""
        if path == "/stub/configure":
            self.settings = Settings(**json.loads(content))
            self.number = 0
            return 200, {}, b"{}"
        number, self.number = self.number, self.number + 1
        short = path.removeprefix("/v1/")
        body = _parsed(content)
        self.note(event="received", number=number, path=short, body=body)
        fault = self.settings.faults.get(str(number), {})
        await asyncio.sleep(self.settings.delay)
        if "hang" in fault:
            await asyncio.sleep(3600)
        if "close" in fault:
            return None
        try:
            status, sent = 200, self._handle(short, headers, content, body, fault)
        except Refused as refused:
            status, sent = refused.status, json.dumps({"error": refused.error})
        self.note(event="answered", number=number, status=status)
        after = {"retry-after": fault["retry_after"]} if "retry_after" in fault else {}
        return status, after, sent.encode()

    def _handle(
        self, path: str, headers: dict[str, str], content: bytes, body: Any, fault: Json
    ) -> str:
        key = headers.get("authorization", "").removeprefix("Bearer ")
        if self.settings.api_key and key != self.settings.api_key:
            raise Refused(401, f"Incorrect API key provided: {key}", code="invalid_api_key")
        if "status" in fault:
            raise Refused(
                fault["status"], fault.get("message", "scripted"), code=fault.get("code", "")
            )
        if "body" in fault:
            return str(fault["body"])
        if "answer" in fault:
            return json.dumps(fault["answer"])
        if path in self.settings.paths:
            return json.dumps(completion(self.settings, path, body, fault))
        answer = self._batch(path, content, body)
        return answer if isinstance(answer, str) else json.dumps(answer)

    def _batch(self, path: str, content: bytes, body: Any) -> Any:
        match path.split("/"):
            case ["files"]:
                name = f"file-{len(self.files)}"
                self.files[name] = _uploaded(content)
                return {"id": name, "object": "file", "purpose": "batch"}
            case ["files", name, "content"] if name in self.files:
                return self.files[name]
            case ["batches"] if body is None:
                return {"object": "list", "data": list(self.batches.values()), "has_more": False}
            case ["batches"]:
                name = f"batch-{len(self.batches)}"
                batch = {"id": name, "object": "batch", "status": "validating", "polls": 0}
                self.batches[name] = batch | body
                return self.batches[name]
            case ["batches", name] if name in self.batches:
                batch = self.batches[name]
                batch["polls"] += 1
                if batch["polls"] > self.settings.batch_polls and "output_file_id" not in batch:
                    self._complete(batch)
                elif "output_file_id" not in batch:
                    batch["status"] = "in_progress"
                return batch
        raise Refused(404, f"no such path: {path}")

    def _complete(self, batch: Json) -> None:
        """Answer every line; every fault by the line's number is in the file of errors."""
        good, bad = [], []
        for number, line in enumerate(self.files[batch["input_file_id"]].splitlines()):
            call = json.loads(line)
            out: Json = {"id": f"line-{number}", "custom_id": call["custom_id"], "error": None}
            try:
                fault = self.settings.faults.get(f"line-{number}", {})
                if "status" in fault:
                    raise Refused(fault["status"], "scripted")
                path = call["url"].removeprefix("/v1/")
                answer = completion(self.settings, path, call["body"], fault)
                good.append(out | {"response": {"status_code": 200, "body": answer}})
            except Refused as refused:
                response = {"status_code": refused.status, "body": {"error": refused.error}}
                bad.append(out | {"response": response})
        # Providers promise no order of the lines.
        for kind, lines in (("output_file_id", good[::-1]), ("error_file_id", bad)):
            name = f"file-{len(self.files)}"
            self.files[name] = "".join(json.dumps(line) + "\n" for line in lines)
            batch[kind] = name if lines else None
        batch["status"] = "completed"


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content) if content else None
    except ValueError:
        return None


def _uploaded(content: bytes) -> str:
    """The file part of a multipart form."""
    boundary = content[: content.index(b"\r\n")]
    for part in content.split(boundary):
        head, _, rest = part.partition(b"\r\n\r\n")
        if b'filename="' in head:
            return rest.removesuffix(b"\r\n").decode()
    raise Refused(400, "no file in the form")


class Connection(asyncio.Protocol):
    """HTTP/1.1 with kept-alive connections, as little of it as clients need."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.buffer = b""
        self.work: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, _exc: Exception | None) -> None:
        if self.work is not None:
            self.work.cancel()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        self.buffer = rest[length:]
        path = first.split(" ")[1].partition("?")[0]
        self.work = asyncio.get_running_loop().create_task(
            self._respond(path, headers, rest[:length])
        )

    async def _respond(self, path: str, headers: dict[str, str], content: bytes) -> None:
        answer = await self.endpoint.answer(path, headers, content)
        if answer is None:
            self.transport.close()
            return
        status, more, body = answer
        lines = [f"HTTP/1.1 {status} Stub", "content-type: application/json"]
        lines += [f"content-length: {len(body)}", *(f"{name}: {more[name]}" for name in more)]
        self.transport.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


async def serve(log: Path) -> None:
    """Listen on a free port, say which, and go on until killed."""
    endpoint = Endpoint(log)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(endpoint), "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


# --- the tests' side ---


class StubServer:
    """The endpoint in a process of its own, until the block ends.

    Parameters
    ----------
    log
        File of the log, one JSON object a line: ``{"event": "received", "number", "path",
        "body", "at"}`` when a call has come and ``{"event": "answered", "number", "status",
        "at"}`` when its answer is ready to be written.
    settings
        Fields of ``Settings``.
    """

    def __init__(self, log: Path, **settings: Any) -> None:
        self.log_file = log
        self.settings = settings

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(self.log_file)], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.configure(**self.settings)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def configure(self, **settings: Any) -> None:
        """Other settings from now on; what is not named is at its default; calls count from 0.

        The log is emptied.
        """
        body = json.dumps(asdict(Settings(**settings))).encode()
        url = f"http://127.0.0.1:{self.port}/stub/configure"
        with urllib.request.urlopen(urllib.request.Request(url, data=body)) as answer:
            assert answer.status == 200
        os.truncate(self.log_file, 0)

    def events(self) -> list[Json]:
        """The log so far."""
        return [json.loads(line) for line in self.log_file.read_text("utf-8").splitlines()]

    def bodies(self) -> list[Json]:
        """The bodies of all calls so far, in the order in which they came."""
        return [event["body"] for event in self.events() if event["event"] == "received"]


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
