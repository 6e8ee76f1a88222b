"""Which settings of a table become the sources of a fit, as written in ``--sources``."""

from __future__ import annotations

from collections.abc import Sequence

from calib.errors import DataError, Fault
from calib.survey import Setting

JOIN = "all"
"""The word that makes everything selected the sources of one fit."""


def parse_sources(
    text: str | None, settings: Sequence[Setting], *, default_join: bool
) -> list[tuple[Setting, ...]]:
    """The fits that a selection asks for, each as its sources, in the order of ``settings``.

    Parameters
    ----------
    text
        ``key=value`` parts separated by commas, with ``model``, ``elicitation`` or ``prompt``
        as key; ``a|b`` as value selects both. The bare word ``all`` joins whatever the other
        parts select into one fit. None selects everything.
    settings
        What there is to choose from.
    default_join
        Whether the selected settings are joined into one fit without the word ``all``;
        otherwise each is a fit of its own.

    Raises
    ------
    DataError
        On an unknown key or value, a repeated key, or where nothing is selected; the
        message names what there is.

    >>> here = [Setting("a", "verbalized", "sd"), Setting("b", "verbalized", "sd")]
    >>> [len(sources) for sources in parse_sources("prompt=sd", here, default_join=False)]
    [1, 1]
    >>> [len(sources) for sources in parse_sources("all,prompt=sd", here, default_join=False)]
    [2]
    """
    parts = [] if text is None else [part.strip() for part in text.split(",")]
    wanted: dict[str, list[str]] = {}
    for part in parts:
        if part == JOIN:
            continue
        key, equals, values = part.partition("=")
        key = key.strip()
        if not equals or key not in Setting._fields or key in wanted:
            raise _wrong(f"{part!r} in {text!r}", settings)
        wanted[key] = [value.strip() for value in values.split("|")]
        there = {getattr(setting, key) for setting in settings}
        unknown = [value for value in wanted[key] if value not in there]
        if unknown:
            raise _wrong(f"no {key} {', '.join(map(repr, unknown))}", settings)
    chosen = tuple(
        setting
        for setting in settings
        if all(getattr(setting, key) in values for key, values in wanted.items())
    )
    if not chosen:
        raise _wrong(f"nothing that matches {text!r}", settings)
    if default_join or JOIN in parts:
        return [chosen]
    return [(setting,) for setting in chosen]


def sources_label(settings: Sequence[Setting]) -> str:
    """A selection in one word: each part's distinct values joined by ``+``.

    >>> sources_label([Setting("a", "verbalized", "sd"), Setting("b", "verbalized", "sd")])
    'a+b/verbalized/sd'
    """
    return "/".join(joined_parts(settings))


def joined_parts(settings: Sequence[Setting]) -> tuple[str, str, str]:
    """Model, elicitation and prompt of several settings, distinct values joined by ``+``."""
    model, elicitation, prompt = (
        "+".join(dict.fromkeys(values)) for values in zip(*settings, strict=True)
    )
    return model, elicitation, prompt


def _wrong(value: str, settings: Sequence[Setting]) -> DataError:
    return DataError(
        Fault(
            rule="sources select settings of the table by model=…, elicitation=… and prompt=…, "
            "each once, values separated by |; the word 'all' joins them into one fit",
            value=value,
            remedy="choose among " + ", ".join(map(str, settings)),
        )
    )
