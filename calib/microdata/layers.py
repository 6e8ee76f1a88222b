"""Codings that are shipped or build on another one, as the content of one TOML file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from calib.errors import DataError, Fault

_SHIPPED: Final = Path(__file__).with_name("codings")
KINDS: Final = ("substantive", "missing", "dont_know", "refused", "other")
"""What a code may stand for; ``missing`` is left out of all counts."""
_RANGE: Final = re.compile(r"(?P<stem>.+?)(?P<low>\d+|[A-Z])-(?P=stem)(?P<high>\d+|[A-Z])")


class Layered(NamedTuple):
    """A coding with all that it is based on, blocks dissolved into their variables."""

    content: dict[str, Any]
    optional: frozenset[str]
    """Variables that only codings with ``partial = true`` name: a file may lack them."""


def shipped_codings() -> tuple[str, ...]:
    """The names of the codings that come with the package."""
    return tuple(sorted(path.stem for path in _SHIPPED.glob("*.toml")))


def read_layers(path: Path, below: tuple[Path, ...] = ()) -> Layered:
    """Read a coding and what it is ``based_on``; its own entries win.

    Parameters
    ----------
    path
        A file, or the name of a shipped coding where there is no such file.
    below
        Files that are based on this one.

    Raises
    ------
    DataError
        If one of the files is no TOML or based on itself, or its blocks name no variables.
    """
    if not path.is_file() and path.name in shipped_codings() and path.parent == Path():
        path = _SHIPPED / f"{path.name}.toml"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        known = " or ".join(shipped_codings())
        fault = Fault(
            f"a coding is a TOML file in UTF-8, or the name of a shipped one: {known}",
            str(error)[:200],
            "correct the file or the name",
        )
        raise DataError(fault, file=path) from None
    faults: list[Fault] = []
    own = _without_blocks(content, faults)
    partial, base = own.pop("partial", False), own.pop("based_on", None)
    if not isinstance(partial, bool):
        faults.append(Fault("partial is true or false", repr(partial), "correct the entry"))
    if not isinstance(base, str | None):
        faults.append(Fault("based_on is a file or a name", repr(base), "correct the entry"))
    elif path.resolve() in below:
        faults.append(Fault("a coding is not based on itself", repr(base), "leave based_on out"))
    if faults:
        raise DataError(faults, file=path)
    lists = [*_names(own.get("items", [])), *_names(own.get("groups", []))]
    named = frozenset({*own["variables"], *expand(map(str, lists))})
    if base is None:
        return Layered(own, named if partial else frozenset())
    beside = path.parent / base
    found = read_layers(beside if beside.is_file() else Path(base), (*below, path.resolve()))
    content = {**found.content, **{one: value for one, value in own.items() if one != "variables"}}
    for table in ("patterns", "weights", "design"):
        if isinstance(found.content.get(table), dict) and isinstance(own.get(table), dict):
            content[table] = {**found.content[table], **own[table]}
    content["variables"] = _over(found.content["variables"], own["variables"])
    optional = found.optional | named if partial else found.optional - named
    return Layered(content, optional)


def expand(names: Iterable[str]) -> tuple[str, ...]:
    """Names of variables, a range standing for all from its first to its last.

    >>> expand(["Q1-Q3", "Q11A-Q11C", "W_WEIGHT", "v09-v11"])
    ('Q1', 'Q2', 'Q3', 'Q11A', 'Q11B', 'Q11C', 'W_WEIGHT', 'v09', 'v10', 'v11')
    """
    found: dict[str, None] = {}
    for name in names:
        match = _RANGE.fullmatch(name)
        if match is None or match["low"].isdigit() != match["high"].isdigit():
            found[name] = None
            continue
        stem, low, high = match["stem"], match["low"], match["high"]
        if low.isdigit():
            ends = [f"{number:0{len(low)}d}" for number in range(int(low), int(high) + 1)]
        else:
            ends = [chr(letter) for letter in range(ord(low), ord(high) + 1)]
        found |= {f"{stem}{end}": None for end in ends}
    return tuple(found)


def _without_blocks(content: Mapping[str, Any], faults: list[Fault]) -> dict[str, Any]:
    """The content of one file, in which later blocks win over earlier ones, names over blocks."""
    own = dict(content)
    blocks, said = own.pop("blocks", []), own.get("variables", {})
    variables: dict[str, Any] = {}
    for block in blocks if isinstance(blocks, list) else [blocks]:
        names = block.get("variables") if isinstance(block, Mapping) else None
        if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
            rule = "[[blocks]] are tables with variables, a list of names and ranges"
            faults.append(Fault(rule, repr(block)[:200], "correct the entry", "blocks"))
            continue
        entries = {name: value for name, value in block.items() if name != "variables"}
        variables = _over(variables, dict.fromkeys(expand(names), entries))
    if not isinstance(said, Mapping):
        faults.append(Fault("variables is a table", repr(said)[:200], "correct the entry"))
        said = {}
    own["variables"] = _over(variables, said)
    return own


def _over(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Variables of two layers: entries of the upper one win, labels and recodes are joined."""
    joined = dict(lower)
    for name, entries in upper.items():
        below = lower.get(name)
        if not isinstance(below, Mapping) or not isinstance(entries, Mapping):
            joined[name] = entries
            continue
        said = [code for kind in KINDS for code in _names(entries.get(kind, []))]
        kept: dict[str, Any] = {
            key: [code for code in _names(value) if code not in said] if key in KINDS else value
            for key, value in below.items()
        }
        for key, value in entries.items():
            both = isinstance(value, Mapping) and isinstance(kept.get(key), Mapping)
            kept[key] = {**kept[key], **value} if both else value
        joined[name] = kept
    return joined


def _names(value: Any) -> list[Any]:
    """A list as it is written, or what stands for one."""
    return value if isinstance(value, list) else [value]
