"""Every reply ever received, in one SQLite file: written before it is read, never changed."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from calib.errors import CalibError, DataError, Fault
from elicit.types import Message, Reply, Request, TokenLogprob

SCHEMA_VERSION: Final = 1
_APPLICATION: Final = 0x656C6963  # "elic": marks the SQLite file as a store
_BUSY_SECONDS: Final = 60.0
_FINAL: Final = "('answered', 'refused')"

_SCHEMA: Final = (
    """CREATE TABLE replies (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL,
        key TEXT NOT NULL,
        model TEXT NOT NULL,
        template TEXT NOT NULL,
        outcome TEXT NOT NULL,
        tokens_in INTEGER,
        tokens_out INTEGER,
        request TEXT NOT NULL,
        reply TEXT NOT NULL
    )""",
    "CREATE INDEX replies_by_key ON replies (key)",
    """CREATE TRIGGER replies_are_kept BEFORE DELETE ON replies
    BEGIN SELECT RAISE(ABORT, 'replies are never deleted'); END""",
    """CREATE TRIGGER replies_stay BEFORE UPDATE ON replies
    BEGIN SELECT RAISE(ABORT, 'replies are never changed'); END""",
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


@dataclass(frozen=True, slots=True)
class Record:
    """One reply as stored, with the request that it answers."""

    at: float
    """When it was stored, in seconds since 1970 (UTC)."""
    request: Request
    reply: Reply


@dataclass(frozen=True, slots=True)
class StoreStats:
    """What a store holds."""

    requests: int
    """Requests with a final reply: answered or refused."""
    replies: Mapping[str, int]
    """All replies, failed ones too, by outcome."""
    models: Mapping[str, int]
    """Requests with a final reply, by model."""
    templates: Mapping[str, int]
    """Requests with a final reply, by template."""
    tokens_in: int
    tokens_out: int
    """Of all replies whose endpoint counted them."""
    replies_without_tokens: int
    """Answered replies whose endpoint did not count tokens: these two sums leave them out."""
    first: float | None
    last: float | None
    """When the first and the last reply were stored; None in an empty store."""

    def as_dict(self) -> dict[str, object]:
        """The same as plain values, for JSON."""
        return asdict(self)


class Store:
    """Replies by the key of their request, in an append-only SQLite file.

    Killing the process at any moment loses no reply that was put and does not damage the
    file. (A power cut may lose the last seconds; it does not damage the file.) Several
    processes may use one file. One ``Store`` belongs to the thread that opened it.

    Parameters
    ----------
    path
        The file; created, with its folder, if it is not there.

    Raises
    ------
    DataError
        If the file is something else, or a store of another version.
    CalibError
        If it cannot be opened.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with _explained(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            with _explained(self.path):
                self._prepare()
        except BaseException:
            self._database.close()
            raise

    def get(self, key: str) -> Reply | None:
        """The last final reply (answered or refused) to the request with this key."""
        return self.get_many([key]).get(key)

    def get_many(self, keys: Iterable[str]) -> dict[str, Reply]:
        """The last final replies to all of these requests that have one, by key."""
        with _explained(self.path):
            rows = self._database.execute(
                "SELECT replies.key, replies.reply FROM json_each(?) AS asked "
                "JOIN replies ON replies.key = asked.value "
                f"WHERE replies.outcome IN {_FINAL} ORDER BY replies.id",
                [json.dumps(sorted(set(keys)))],
            ).fetchall()
        # By id: a later reply takes the place of an earlier one.
        last: dict[str, str] = dict(rows)
        return {key: _reply(text) for key, text in last.items()}

    def put(self, request: Request, reply: Reply) -> None:
        """Keep a reply; it is committed when this returns."""
        canonical = request.canonical()
        with _explained(self.path):
            self._database.execute(
                "INSERT INTO replies (at, key, model, template, outcome, tokens_in, tokens_out, "
                "request, reply) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    time.time(),
                    request.key,
                    request.model,
                    request.template,
                    reply.outcome,
                    reply.tokens_in,
                    reply.tokens_out,
                    canonical,
                    _reply_json(reply),
                ],
            )

    def records(self) -> Iterator[Record]:
        """Every reply in the order in which they came, failed ones too."""
        with _explained(self.path):
            rows = self._database.execute("SELECT at, request, reply FROM replies ORDER BY id")
            for at, request, reply in rows:
                yield Record(at, read_request(request), _reply(reply))

    def stats(self) -> StoreStats:
        """How much of what it holds."""
        with _explained(self.path):
            final = f"FROM replies WHERE outcome IN {_FINAL}"
            one = self._database.execute
            (requests,) = one(f"SELECT count(DISTINCT key) {final}").fetchone()
            tokens_in, tokens_out, first, last = one(
                "SELECT coalesce(sum(tokens_in), 0), coalesce(sum(tokens_out), 0), "
                "min(at), max(at) FROM replies"
            ).fetchone()
            (uncounted,) = one(
                "SELECT count(*) FROM replies WHERE outcome = 'answered' "
                "AND (tokens_in IS NULL OR tokens_out IS NULL)"
            ).fetchone()
            by = {
                column: dict(
                    one(
                        f"SELECT {column}, count(DISTINCT key) {final} "
                        f"GROUP BY {column} ORDER BY {column}"
                    ).fetchall()
                )
                for column in ("model", "template")
            }
            outcomes = one(
                "SELECT outcome, count(*) FROM replies GROUP BY outcome ORDER BY outcome"
            ).fetchall()
        return StoreStats(
            requests=requests,
            replies=dict(outcomes),
            models=by["model"],
            templates=by["template"],
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            replies_without_tokens=uncounted,
            first=first,
            last=last,
        )

    def close(self) -> None:
        """Let the file go; closing twice is no error."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _prepare(self) -> None:
        self._check_kind()
        # Changing the journal does not wait for another process that is doing the same.
        deadline = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                self._database.execute("PRAGMA journal_mode = WAL")
                break
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.execute("BEGIN IMMEDIATE")
        try:
            # Within the lock: another process may have made the table in the meantime.
            if not self._check_kind():
                for statement in _SCHEMA:
                    self._database.execute(statement)
            self._database.execute("COMMIT")
        except BaseException:
            self._database.execute("ROLLBACK")
            raise

    def _check_kind(self) -> bool:
        """Whether the file is a store of this version; False if it is still empty."""
        (application,) = self._database.execute("PRAGMA application_id").fetchone()
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        (tables,) = self._database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if application == 0 and version == 0 and tables == 0:
            return False
        if application != _APPLICATION:
            raise _not_a_store(self.path, "another SQLite database")
        if version != SCHEMA_VERSION:
            raise DataError(
                Fault(
                    rule=f"a store of this version of the package has schema {SCHEMA_VERSION}",
                    value=f"schema {version}",
                    remedy="use the version of the package that made it, or name a new file",
                ),
                file=self.path,
            )
        return True


def read_request(canonical: str) -> Request:
    """The request whose canonical JSON this is; its key is the same again."""
    values = json.loads(canonical)
    messages = tuple(Message(**message) for message in values.pop("messages"))
    return Request(messages=messages, **values)


def _reply_json(reply: Reply) -> str:
    """ASCII JSON of what differs from the defaults; half a surrogate pair passes too."""
    empty = Reply(reply.outcome)
    kept: dict[str, Any] = {
        field.name: getattr(reply, field.name)
        for field in fields(Reply)
        if getattr(reply, field.name) != getattr(empty, field.name)
    }
    kept["outcome"] = reply.outcome
    if reply.first_token:
        kept["first_token"] = [[item.token, item.logprob] for item in reply.first_token]
    return json.dumps(kept, sort_keys=True, separators=(",", ":"))


def _reply(text: str) -> Reply:
    values = json.loads(text)
    tokens = tuple(TokenLogprob(*pair) for pair in values.pop("first_token", ()))
    return Reply(first_token=tokens, **values)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """SQLite's errors in the words of this package."""
    try:
        yield
    except (sqlite3.OperationalError, OSError) as error:
        raise CalibError(
            f"a store must be a file that can be read and written; {path}: {error}; free the "
            "file or the disk it is on, or name another one"
        ) from None
    except sqlite3.DatabaseError as error:
        raise _not_a_store(path, str(error)) from None


def _not_a_store(path: Path, value: str) -> DataError:
    return DataError(
        Fault(
            rule="a store is a SQLite file made by this package",
            value=value,
            remedy="name another file; this one is left as it is",
        ),
        file=path,
    )
