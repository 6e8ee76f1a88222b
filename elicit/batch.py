"""Providers' batch files (OpenAI's form): written, sent, fetched, and read into the store.

A batch is a folder. Each part of it has a file to send (``part-001.jsonl``), the requests in
it (``part-001.requests.jsonl``), where it stands (``part-001.state.json``) and, once fetched,
what came back (``part-001.output.jsonl``, ``part-001.errors.jsonl``). Every step can be
killed and repeated: nothing is sent twice.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from calib.errors import CalibError, DataError, Fault
from calib.files import atomic_file, atomic_folder
from elicit.openai import OpenAIClient
from elicit.store import Store, read_request
from elicit.types import Reply, Request
from elicit.wire import PATHS, parsed, read_answer, read_error

MOST_LINES: Final = 50_000
MOST_BYTES: Final = 190_000_000
"""Of one file; providers take 200 MB."""
UNSENT: Final = "unsent"
"""A file in the folder until its first part is sent; only such a folder is written over."""
WRITTEN: Final = "written"
_ENDED: Final = frozenset({"completed", "expired", "cancelled", "failed"})
_OK: Final = 200


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a batch and where it stands."""

    name: str
    requests: int
    status: str = WRITTEN
    """``written``, or the provider's word for the batch that it was sent as."""
    detail: str = ""
    """What the provider says is wrong with it."""
    file_id: str = ""
    batch_id: str = ""
    fetched: bool = False
    """Whether the provider is done with it and what came back is here."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What came back of a batch."""

    outcomes: Mapping[str, int]
    """Replies by outcome; answered and refused ones are in the store."""
    failures: Mapping[str, int]
    """What was wrong with the failed ones, and how often."""
    already_stored: int
    """Requests that the store had a reply to before; theirs were left out."""
    unknown: int
    """Lines that answer no request of the batch, or cannot be read."""
    missing: int
    """Requests of fetched parts to which nothing came back."""
    not_fetched: int
    """Requests of parts that were not fetched yet."""


def write_batch(
    requests: Iterable[Request],
    folder: str | Path,
    *,
    client: OpenAIClient,
    store: Store,
    most_lines: int = MOST_LINES,
    most_bytes: int = MOST_BYTES,
) -> tuple[Part, ...]:
    """Write the files for all requests that the store has no reply to.

    Equal requests are written once. Nothing is sent. Without such requests nothing is
    written either.

    Parameters
    ----------
    folder
        A new one, an empty one, or a batch of which nothing was sent yet.
    client
        Knows what the endpoint is to be sent.

    Raises
    ------
    DataError
        If the folder holds something else.
    """
    by_key = {request.key: request for request in requests}
    stored = store.get_many(by_key)
    wanted = {key: request for key, request in by_key.items() if key not in stored}
    if not wanted:
        return ()
    with atomic_folder(folder, marker=UNSENT) as draft:
        (draft / UNSENT).touch()
        parts = []
        for number, chunk in enumerate(_split(wanted, client, most_lines, most_bytes), start=1):
            part = Part(f"part-{number:03}", len(chunk))
            lines = (wanted[key].canonical() for key in chunk)
            _write_lines(draft / f"{part.name}.requests.jsonl", lines)
            _write_lines(draft / f"{part.name}.jsonl", chunk.values())
            _save(draft, part)
            parts.append(part)
    return tuple(parts)


def read_parts(folder: str | Path) -> tuple[Part, ...]:
    """The parts of a batch as they stood last; nothing is asked.

    Raises
    ------
    DataError
        If the folder is no batch.
    """
    states = sorted(Path(folder).glob("part-*.state.json"))
    if not states:
        raise DataError(
            Fault(
                rule="a batch is a folder with files part-001.state.json, part-001.jsonl, ...",
                value="none of them",
                remedy="name a folder that 'elicit batch write' wrote",
            ),
            file=folder,
        )
    return tuple(Part(**json.loads(state.read_text("utf-8"))) for state in states)


async def submit(folder: str | Path, client: OpenAIClient) -> tuple[Part, ...]:
    """Send every part that was not sent yet.

    A part's file is noted before its batch is made, and batches that the provider already
    has of that file are looked for: a part is never run (and paid) twice.

    Raises
    ------
    CalibError
        If the endpoint takes no batches, or does not answer; what was sent is noted.
    """
    folder = Path(folder)
    parts = []
    for part in read_parts(folder):
        (folder / UNSENT).unlink(missing_ok=True)
        if not part.batch_id:
            with _explained(client):
                part = await _sent(folder, part, client)
        parts.append(part)
    return tuple(parts)


async def fetch(folder: str | Path, client: OpenAIClient) -> tuple[Part, ...]:
    """Ask how the sent parts stand, and get what came back of those that ended.

    Raises
    ------
    CalibError
        If the endpoint does not answer; what was fetched stays.
    """
    folder = Path(folder)
    parts = []
    for part in read_parts(folder):
        if part.batch_id and not part.fetched:
            with _explained(client):
                part = await _fetched(folder, part, client)
        parts.append(part)
    return tuple(parts)


def collect(folder: str | Path, store: Store) -> Collected:
    """Put what came back into the store, under the keys of the requests.

    Collecting twice changes nothing. Failed requests are counted, not stored: a new batch
    has them again.
    """
    folder = Path(folder)
    counts: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    for part in read_parts(folder):
        if not part.fetched:
            counts["not_fetched"] += part.requests
            continue
        requests = {
            request.key: request
            for request in map(read_request, _lines(folder / f"{part.name}.requests.jsonl"))
        }
        stored = store.get_many(requests)
        seen = set()
        for line in _returned(folder, part):
            request, reply = _read_line(line, requests)
            if request is None or request.key in seen:
                counts["unknown"] += 1
                continue
            seen.add(request.key)
            if request.key in stored:
                counts["already_stored"] += 1
                continue
            outcomes[reply.outcome] += 1
            if reply.outcome == "failed":
                failures[reply.detail] += 1
            else:
                store.put(request, reply)
        counts["missing"] += len(requests.keys() - seen)
    return Collected(
        outcomes=dict(outcomes),
        failures=dict(failures.most_common()),
        already_stored=counts["already_stored"],
        unknown=counts["unknown"],
        missing=counts["missing"],
        not_fetched=counts["not_fetched"],
    )


def _split(
    wanted: Mapping[str, Request], client: OpenAIClient, most_lines: int, most_bytes: int
) -> Iterator[dict[str, str]]:
    """Lines to send by key, in files of allowed size."""
    chunk: dict[str, str] = {}
    size = 0
    for key, request in wanted.items():
        line = json.dumps(
            {
                "custom_id": key,
                "method": "POST",
                "url": f"/v1{PATHS[client.api]}",
                "body": client.body(request),
            }
        )
        if chunk and (len(chunk) == most_lines or size + len(line) + 1 > most_bytes):
            yield chunk
            chunk, size = {}, 0
        chunk[key] = line
        size += len(line) + 1
    yield chunk


async def _sent(folder: Path, part: Part, client: OpenAIClient) -> Part:
    connection = client.connection()
    batch = None
    if part.file_id:
        # A former try may have been killed after the batch was made and before it was noted.
        async for known in connection.batches.list(limit=100):
            if known.input_file_id == part.file_id:
                batch = known
                break
    else:
        path = folder / f"{part.name}.jsonl"
        file = await connection.files.create(file=path, purpose="batch")
        part = _save(folder, replace(part, file_id=file.id))
    if batch is None:
        batch = await connection.batches.create(
            input_file_id=part.file_id,
            endpoint="/v1/chat/completions" if client.api == "chat" else "/v1/completions",
            completion_window="24h",
        )
    return _save(folder, replace(part, batch_id=batch.id, status=batch.status))


async def _fetched(folder: Path, part: Part, client: OpenAIClient) -> Part:
    connection = client.connection()
    batch = await connection.batches.retrieve(part.batch_id)
    faults = (batch.errors.data or []) if batch.errors else []
    detail = "; ".join(dict.fromkeys(fault.message or "" for fault in faults))
    part = replace(part, status=batch.status, detail=detail)
    if batch.status in _ENDED:
        for kind, name in (("output", batch.output_file_id), ("errors", batch.error_file_id)):
            if name:
                content = await connection.files.content(name)
                with atomic_file(folder / f"{part.name}.{kind}.jsonl") as draft:
                    draft.write_bytes(content.content)
        part = replace(part, fetched=True)
    return _save(folder, part)


def _returned(folder: Path, part: Part) -> Iterator[str]:
    for kind in ("output", "errors"):
        path = folder / f"{part.name}.{kind}.jsonl"
        if path.exists():
            yield from _lines(path)


def _read_line(line: str, requests: Mapping[str, Request]) -> tuple[Request | None, Reply]:
    """The request that a line answers, if it is one of these, and the reply."""
    value: Any = parsed(line)
    if not isinstance(value, Mapping):
        return None, Reply("failed", detail="a line that is not JSON")
    request = requests.get(str(value.get("custom_id")))
    response = value.get("response")
    if not isinstance(response, Mapping):
        error = value.get("error")
        message = error.get("message") if isinstance(error, Mapping) else None
        return request, Reply("failed", detail=f"the provider did not run it: {message}")
    status, body = response.get("status_code", _OK), response.get("body")
    reply = read_answer(body) if status == _OK else read_error(status, body)
    if request and request.top_logprobs and reply.outcome == "answered" and not reply.first_token:
        # Kept as answered, it would stand in the store for ever.
        detail = "log-probabilities were asked for and the reply carries none"
        reply = replace(reply, outcome="failed", detail=detail)
    return request, reply


def _lines(path: Path) -> Iterator[str]:
    # Not splitlines: it would also split at characters that JSON may hold unescaped.
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            if line.strip():
                yield line


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


def _save(folder: Path, part: Part) -> Part:
    with atomic_file(folder / f"{part.name}.state.json") as draft:
        draft.write_text(json.dumps(asdict(part), indent=1) + "\n", "utf-8")
    return part


@contextmanager
def _explained(client: OpenAIClient) -> Iterator[None]:
    try:
        yield
    except client.errors as error:
        reply = client.failure(error)
        raise CalibError(
            f"a batch is sent to an endpoint that takes batch files; {reply.detail}; try again "
            "(nothing is sent twice), or ask call by call with 'elicit run'"
        ) from None
