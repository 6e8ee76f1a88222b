"""SURVEY.toml: the questionnaire, the model that is asked, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from calib.errors import DataError, Fault
from calib.survey import ELICITATIONS
from elicit.budget import Prices
from elicit.prompt import ORDER_SCHEMES, PERMUTATIONS

BUNDLED: Final = "bundled"
_EXAMPLE: Final = Path(__file__).with_name("example_plan.toml")


@dataclass(frozen=True)
class ModelPlan:
    """Which model is asked and where it is."""

    kind: Literal["http", "gguf", "fake"]
    name: str | None = None
    """As endpoints know it; of a GGUF file its own name if None."""
    base_url: str | None = None
    """OpenAI's if None."""
    api_key_env: str | None = None
    """The environment variable that holds the key; the key itself is in no file. None:
    ``OPENAI_API_KEY`` for OpenAI's own address, no key for others."""
    api: Literal["chat", "completions"] = "chat"
    timeout: float = 120.0
    """Seconds to wait for one reply."""
    gguf: str = BUNDLED
    """Path of the weights, or ``bundled``."""
    fake: Mapping[str, Any] | None = None
    """Of the fake client: ``position_bias``, ``mass``, ``noise``, ``seed``."""


@dataclass(frozen=True)
class AskPlan:
    """How the model is asked."""

    elicitations: tuple[str, ...] = ("verbalized",)
    templates: tuple[str, ...] = ("sd-qa",)
    """Names of the templates that come with the package, or paths."""
    orders: str = "both"
    permuted: int = PERMUTATIONS
    """Permutations where ``orders`` is ``permuted``."""
    draws: Mapping[str, int] = field(default_factory=dict)
    """Draws of each order, by elicitation; a method's own number where it is not named."""
    temperature: Mapping[str, float] = field(default_factory=dict)
    """By elicitation; a method's own where it is not named."""
    max_tokens: Mapping[str, int] = field(default_factory=dict)
    """Room for a reply, by elicitation; models that reason first need more than the default."""
    paraphrases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """A question's other wordings, by its id; the template's frames where it is not named."""
    at_once: int = 8
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    prices: Prices | None = None


def read_plan(document: Mapping[str, Any]) -> tuple[ModelPlan, AskPlan]:
    """The tables ``[model]`` and ``[ask]`` of a survey file.

    Raises
    ------
    DataError
        With every fault of both at once.
    """
    faults: list[Fault] = []
    model = _model(_Table("model", document.get("model"), faults))
    ask = _ask(_Table("ask", document.get("ask", {}), faults))
    if faults:
        raise DataError(faults)
    return model, ask


def example_plan() -> str:
    """Commented tables ``[model]`` and ``[ask]`` in TOML."""
    return _EXAMPLE.read_text("utf-8")


def _model(table: _Table) -> ModelPlan:
    ways = [name for name in ("name", "gguf", "fake") if name in table.values]
    if table.there and (len({"gguf", "fake"} & set(ways)) == 2 or not ways):
        table.fault(
            "a model is an endpoint's (name and base_url), a GGUF file (gguf) or fake (fake)",
            ", ".join(ways) or "none of them",
            'give name = "…", gguf = "bundled" or a path, or fake = true',
        )
    kind: Literal["http", "gguf", "fake"] = (
        "gguf" if "gguf" in table.values else "fake" if "fake" in table.values else "http"
    )
    http_only = ("base_url", "api_key_env", "api", "timeout")
    for name in http_only if kind != "http" else ():
        if name in table.values:
            table.fault("an endpoint's settings go with an endpoint", f"{name} beside {kind}",
                        f"remove {name} or {kind}", name)  # fmt: skip
    for name in ("api_key", "key"):
        if name in table.values:
            # The value is not repeated: it may be a key.
            table.fault(
                "a key stands in no file", f"a field {name}",
                "put the key into an environment variable and name it as api_key_env", name,
            )  # fmt: skip
            table.known.add(name)
    api = table.text("api", "chat")
    if api not in ("chat", "completions"):
        table.fault("api is chat or completions", repr(api), "use one of them", "api")
    plan = ModelPlan(
        kind=kind,
        name=table.text("name", None),
        base_url=table.text("base_url", None),
        api_key_env=table.text("api_key_env", None),
        api="completions" if api == "completions" else "chat",
        timeout=table.positive("timeout") or 120.0,
        gguf=table.text("gguf", BUNDLED) or BUNDLED,
        fake=_fake(table),
    )
    table.finish()
    return plan


def _fake(table: _Table) -> Mapping[str, Any] | None:
    given = table.take("fake")
    if given is None or given is True:
        return None if given is None else {}
    fields = ("position_bias", "mass", "noise", "seed")
    if not isinstance(given, dict) or not given.keys() <= set(fields):
        table.fault(
            f"fake is true or a table of {', '.join(fields)}", repr(given), "correct it", "fake"
        )
        return {}
    return given


def _ask(table: _Table) -> AskPlan:
    default = AskPlan()
    elicitations = table.texts("elicitation", default.elicitations)
    for unknown in (name for name in elicitations if name not in ELICITATIONS):
        table.fault(
            f"elicitations are {', '.join(ELICITATIONS)}", repr(unknown), "use one of them",
            "elicitation",
        )  # fmt: skip
    plan = AskPlan(
        elicitations=elicitations,
        templates=table.texts("template", default.templates),
        orders=_orders(table, default.orders),
        permuted=int(table.positive("permuted", whole=True) or default.permuted),
        draws=table.by_elicitation("draws", elicitations, whole=True),
        temperature=table.by_elicitation("temperature", elicitations, whole=False),
        max_tokens=table.by_elicitation("max_tokens", elicitations, whole=True),
        paraphrases=_paraphrases(table),
        at_once=int(table.positive("at_once", whole=True) or default.at_once),
        requests_per_minute=table.positive("requests_per_minute"),
        tokens_per_minute=table.positive("tokens_per_minute"),
        prices=_prices(table),
    )
    table.finish()
    return plan


def _orders(table: _Table, default: str) -> str:
    orders = table.text("orders", default) or default
    if orders not in ORDER_SCHEMES:
        table.fault(
            f"orders is one of {', '.join(ORDER_SCHEMES)}", repr(orders), "use one of them",
            "orders",
        )  # fmt: skip
    return orders


def _paraphrases(table: _Table) -> Mapping[str, tuple[str, ...]]:
    given = table.take("paraphrases")
    if given is None:
        return {}
    if not isinstance(given, dict) or not all(_is_texts(value) for value in given.values()):
        table.fault(
            "paraphrases are a list of wordings by question id", repr(given),
            'write paraphrases = { q1 = ["…", "…"] }', "paraphrases",
        )  # fmt: skip
        return {}
    return {name: tuple(wordings) for name, wordings in given.items()}


def _prices(table: _Table) -> Prices | None:
    given = table.take("prices")
    if given is None:
        return None
    if (
        not isinstance(given, dict)
        or given.keys() != {"in", "out"}
        or not all(_is_number(value) and value >= 0 for value in given.values())
    ):
        table.fault(
            "prices are money for a million tokens, in and out", repr(given),
            "write prices = { in = 0.15, out = 0.60 }", "prices",
        )  # fmt: skip
        return None
    return Prices(float(given["in"]), float(given["out"]))


class _Table:
    """One table of the file: its fields by type, and the faults found in them."""

    def __init__(self, name: str, values: object, faults: list[Fault]) -> None:
        self.name = name
        self.faults = faults
        self.known: set[str] = set()
        self.there = isinstance(values, dict)
        self.values: dict[str, Any] = values if isinstance(values, dict) else {}
        if not self.there:
            self.fault(f"a survey file has a table [{name}]", repr(values), f"add [{name}]")

    def fault(self, rule: str, value: str, remedy: str, field: str | None = None) -> None:
        place = f"[{self.name}]" if field is None else f"{self.name}.{field}"
        self.faults.append(Fault(rule=rule, value=f"{value} in {place}", remedy=remedy))

    def take(self, field: str) -> Any:
        self.known.add(field)
        return self.values.get(field)

    def text(self, field: str, default: str | None) -> str | None:
        value = self.take(field)
        if value is None:
            return default
        if not isinstance(value, str) or not value.strip():
            self.fault(f"{field} is a text", repr(value), "write it in quotes", field)
            return default
        return value

    def texts(self, field: str, default: tuple[str, ...]) -> tuple[str, ...]:
        value = self.take(field)
        if value is None:
            return default
        listed = [value] if isinstance(value, str) else value
        if not _is_texts(listed) or not listed:
            self.fault(f"{field} is a text or a list of texts", repr(value), "correct it", field)
            return default
        if len(set(listed)) < len(listed):
            self.fault(f"each {field} is named once", repr(value), "remove the second", field)
        return tuple(dict.fromkeys(listed))

    def positive(self, field: str, *, whole: bool = False) -> float | None:
        value = self.take(field)
        if value is None:
            return None
        if not _is_number(value) or value <= 0 or (whole and not isinstance(value, int)):
            kind = "whole number" if whole else "number"
            self.fault(f"{field} is a {kind} above zero", repr(value), "correct it", field)
            return None
        return float(value)

    def by_elicitation(
        self, field: str, elicitations: Sequence[str], *, whole: bool
    ) -> Mapping[str, Any]:
        """A number for all elicitations, or a table by their names."""
        value = self.take(field)
        if value is None:
            return {}
        table = value if isinstance(value, dict) else dict.fromkeys(elicitations, value)
        right = all(
            name in elicitations
            and _is_number(number)
            and (number > 0 if whole else number >= 0)
            and (isinstance(number, int) or not whole)
            for name, number in table.items()
        )
        if not right:
            kind = "a whole number above zero" if whole else "a number from zero"
            self.fault(
                f"{field} is {kind}, or a table of such by elicitation", repr(value),
                f"use the elicitations asked: {', '.join(elicitations)}", field,
            )  # fmt: skip
            return {}
        return table

    def finish(self) -> None:
        unknown = [name for name in self.values if name not in self.known]
        if unknown:
            self.fault(
                f"[{self.name}] has the fields {', '.join(sorted(self.known))}",
                ", ".join(map(repr, unknown)),
                "correct the spelling or remove them",
            )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) and one.strip() for one in value)
