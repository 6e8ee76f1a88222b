"""A store's replies as rows, for reading outside this package."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

import pandas as pd

from elicit.store import Record

COLUMNS: Final = (
    "at", "key", "model", "template", "draw", "temperature", "max_tokens", "prompt",
    "outcome", "text", "detail", "finish", "tokens_in", "tokens_out",
)  # fmt: skip


def reply_rows(records: Iterable[Record]) -> pd.DataFrame:
    """One row a reply, in the order in which they came, failed ones too.

    ``at`` is the time in UTC as ISO 8601, ``prompt`` the messages one below the other.
    Log-probabilities are left out: the store has them.
    """
    rows = [
        (
            datetime.fromtimestamp(one.at, UTC).isoformat(),
            one.request.key,
            one.request.model,
            one.request.template,
            one.request.draw,
            one.request.temperature,
            one.request.max_tokens,
            "\n\n".join(message.content for message in one.request.messages),
            one.reply.outcome,
            one.reply.text,
            one.reply.detail,
            one.reply.finish,
            one.reply.tokens_in,
            one.reply.tokens_out,
        )
        for one in records
    ]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    numbers = ("temperature", "max_tokens", "tokens_in", "tokens_out")
    return frame.astype(dict.fromkeys(numbers, float))
