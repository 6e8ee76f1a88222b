"""What every page and card says of calibrated answers, and how far they were held to people's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

Status = Literal["benchmarked", "partly benchmarked", "not benchmarked"]

DISCLOSURE: Final = (
    "These are model-based estimates, not respondents.",
    "No person gave the calibrated answers. A language model's answers were corrected with what "
    "people answered to other questions; they do not replace asking people.",
)
MEANINGS: Final[Mapping[Status, str]] = {
    "benchmarked": "every calibrator shown was scored against people's answers to questions that "
    "it did not see",
    "partly benchmarked": "some fits failed or are not to be trusted; the others were scored "
    "against people's answers to questions that they did not see",
    "not benchmarked": "nothing here was held against people's answers to questions kept out of "
    "the fit",
}


def benchmark_status(rows: Sequence[Mapping[str, Any]]) -> Status:
    """How far results were held to people's answers to questions kept out of the fit.

    Parameters
    ----------
    rows
        Of an evaluation (``trusted`` a row) or of a study's summary (``parts_failed`` and
        ``parts_untrusted``); none: not benchmarked. A row without a W1 was not scored.
    """
    scored = [row for row in rows if row.get("w1") is not None]
    if not scored:
        return "not benchmarked"
    doubtful = len(scored) < len(rows) or any(
        row.get("trusted") is False or row.get("parts_failed") or row.get("parts_untrusted")
        for row in rows
    )
    return "partly benchmarked" if doubtful else "benchmarked"
