"""Prompt templates: readable TOML files, named and versioned, checked before anything is asked."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from calib.errors import CalibError, DataError, Fault
from calib.survey import ELICITATIONS

PROMPTS: Final = ("base", "sd", "fewshot")
"""What a model is told of the group: nothing, who it is, and how it answered elsewhere."""
MIN_REWORDINGS: Final = 5
_FOLDER: Final = Path(__file__).with_name("templates")
_PLACEHOLDER: Final = re.compile(r"\{([a-z_]+)\}")
_TEXTS: Final = {
    "persona": frozenset({"wording", "group"}),
    "example": frozenset({"question", "options"}),
}
_IN_MESSAGES: Final = frozenset(
    {"persona", "examples", "question", "options", "form", "letters", "count"}
)
_NEEDED: Final[Mapping[str, frozenset[str]]] = {
    "base": frozenset({"question", "options"}),
    "sd": frozenset({"question", "options", "persona"}),
    "fewshot": frozenset({"question", "options", "persona", "examples"}),
}


@dataclass(frozen=True, slots=True)
class Task:
    """The two messages of one elicitation, with placeholders in braces."""

    system: str
    user: str


@dataclass(frozen=True)
class Template:
    """How a question is put to a model on behalf of a group; see ``load_template``."""

    name: str
    version: int
    prompt: str
    """``base``, ``sd`` or ``fewshot``: what the model is told of the group."""
    persona: str
    """How a group is presented, from ``{wording}`` and ``{group}``; empty for ``base``."""
    example: str
    """How one known answer is shown, from ``{question}`` and ``{options}``; few-shot only."""
    rewordings: tuple[str, ...]
    """Frames around ``{question}`` for the elicitation ``paraphrase``."""
    tasks: Mapping[str, Task]
    """Messages by elicitation; a template need not have all."""
    builtin: bool
    """Whether it is shipped with this package."""
    digest: str
    """SHA-256 of the file, in hexadecimal."""

    @property
    def id(self) -> str:
        """Name and version, as requests carry it: ``sd-qa/1``."""
        return f"{self.name}/{self.version}"

    @property
    def setting(self) -> str:
        """The prompt's name in tables: the kind of a shipped template, a user's own by name."""
        return self.prompt if self.builtin else self.name

    def task(self, elicitation: str) -> Task:
        """The messages of an elicitation; ``CalibError`` if the template has none."""
        if elicitation not in self.tasks:
            raise CalibError(
                f"a template is used for elicitations that it has messages for; {self.id} has none "
                f"for {elicitation!r}; add a table [{elicitation}] to it or use one of "
                f"{', '.join(self.tasks)}"
            )
        return self.tasks[elicitation]


def template_names() -> tuple[str, ...]:
    """Names of the templates that are shipped."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def load_template(name_or_path: str | Path) -> Template:
    """A shipped template by name, or a user's own by the path of its TOML file.

    The file has ``name``, ``version`` (a whole number), ``prompt`` and, for each elicitation
    that it can do, a table with the messages ``system`` and ``user``. Placeholders stand in
    braces: ``{question}`` and ``{options}`` always; ``{persona}`` unless the prompt is
    ``base``; ``{examples}`` where it is ``fewshot``; ``{form}``, ``{letters}`` and
    ``{count}`` (the JSON asked for, the letters, the number of simulated answers) where
    wanted. Other braces are plain text.

    Raises
    ------
    CalibError
        If no shipped template has the name and no file the path.
    DataError
        With all faults of the file, such as placeholders that are missing or unknown.
    """
    builtin = str(name_or_path) in template_names()
    path = _FOLDER / f"{name_or_path}.toml" if builtin else Path(name_or_path)
    try:
        raw = path.read_bytes()
    except OSError:
        raise CalibError(
            f"a template is one of {', '.join(template_names())} or a TOML file; found no "
            f"{str(name_or_path)!r}; correct the name or the path"
        ) from None
    try:
        fields = tomllib.loads(raw.decode("utf-8"))
    except ValueError as error:
        fault = Fault("a template is a TOML file in UTF-8", str(error), "correct the file there")
        raise DataError(fault, file=path) from None
    faults = _faults(fields, builtin)
    if faults:
        raise DataError(faults, file=path)
    tasks = {
        elicitation: Task(fields[elicitation].get("system", ""), fields[elicitation]["user"])
        for elicitation in ELICITATIONS
        if elicitation in fields
    }
    return Template(
        name=fields["name"],
        version=fields["version"],
        prompt=fields["prompt"],
        persona=fields.get("persona", ""),
        example=fields.get("example", ""),
        rewordings=tuple(fields.get("rewordings", ())),
        tasks=tasks,
        builtin=builtin,
        digest=hashlib.sha256(raw).hexdigest(),
    )


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with each placeholder that has a value replaced, all in one pass.

    Braces within the values are not looked at again, so that what users write stays text.

    >>> fill("{question} {x}", {"question": "Why {options}?"})
    'Why {options}? {x}'
    """
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), text)


def _faults(fields: Mapping[str, Any], builtin: bool) -> list[Fault]:
    faults = [*_header_faults(fields, builtin), *_type_faults(fields)]
    # What a text must hold is checked only where the texts are texts.
    return faults or [*_placeholder_faults(fields), *_rewording_faults(fields)]


def _header_faults(fields: Mapping[str, Any], builtin: bool) -> list[Fault]:
    faults = []
    name = fields.get("name")
    if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name):
        faults.append(
            Fault(
                "a template has a name of letters, digits, '.', '_' and '-'",
                repr(name), 'write name = "my-template"', "name",
            )
        )  # fmt: skip
    elif not builtin and name in (*template_names(), *PROMPTS):
        faults.append(
            Fault(
                "a template of your own has a name of its own",
                f"{name!r}, which is a shipped template's", "choose another name", "name",
            )
        )  # fmt: skip
    version = fields.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        faults.append(
            Fault(
                "a template has a version, a whole number from 1",
                repr(version), "write version = 1", "version",
            )
        )  # fmt: skip
    if fields.get("prompt") not in PROMPTS:
        faults.append(
            Fault(
                f"prompt is one of {', '.join(PROMPTS)}",
                repr(fields.get("prompt")), "say what the model is told of the group", "prompt",
            )
        )  # fmt: skip
    return faults


def _type_faults(fields: Mapping[str, Any]) -> list[Fault]:
    faults = []
    known = {"name", "version", "prompt", "rewordings", *_TEXTS, *ELICITATIONS}
    for unknown in sorted(set(fields) - known):
        faults.append(
            Fault(f"a template holds {', '.join(sorted(known))}", unknown, "remove it", unknown)
        )
    for name in _TEXTS:
        if not isinstance(fields.get(name, ""), str):
            faults.append(Fault("must be a text", repr(fields[name]), "put it in quotes", name))
    asked = [elicitation for elicitation in ELICITATIONS if elicitation in fields]
    if not asked:
        faults.append(
            Fault(
                f"a template has a table for one or more of {', '.join(ELICITATIONS)}",
                "none", "add one, such as [verbalized] with system and user",
            )
        )  # fmt: skip
    for elicitation in asked:
        task = fields[elicitation]
        fits = isinstance(task, dict) and set(task) <= {"system", "user"} and "user" in task
        if not fits or not all(isinstance(text, str) for text in task.values()):
            faults.append(
                Fault(
                    "an elicitation's table holds the texts system (optional) and user",
                    repr(task)[:200], "write both messages there", elicitation,
                )
            )  # fmt: skip
    frames = fields.get("rewordings", [])
    if not isinstance(frames, list) or not all(isinstance(frame, str) for frame in frames):
        faults.append(
            Fault("rewordings is a list of texts", repr(frames)[:200], "write a list", "rewordings")
        )
    return faults


def _placeholder_faults(fields: Mapping[str, Any]) -> list[Fault]:
    prompt = fields["prompt"]
    faults = []
    required = {"sd": ["persona"], "fewshot": ["persona", "example"]}.get(prompt, [])
    for name in required:
        faults += _compare(name, [fields.get(name, "")], _TEXTS[name], _TEXTS[name])
    for elicitation in ELICITATIONS:
        if elicitation in fields:
            texts = list(fields[elicitation].values())
            faults += _compare(elicitation, texts, _NEEDED[prompt], _IN_MESSAGES)
    return faults


def _compare(
    place: str, texts: Sequence[str], needed: frozenset[str], known: frozenset[str]
) -> list[Fault]:
    found = {name for text in texts for name in _PLACEHOLDER.findall(text)}
    faults = []
    for name in sorted(needed - found):
        faults.append(
            Fault(f"the text must hold the placeholder {{{name}}}", "none", "add it", place)
        )
    for name in sorted(found - known):
        allowed = ", ".join(f"{{{one}}}" for one in sorted(known))
        faults.append(
            Fault(f"placeholders here are {allowed}", f"{{{name}}}", "correct or remove it", place)
        )
    return faults


def _rewording_faults(fields: Mapping[str, Any]) -> list[Fault]:
    if "paraphrase" not in fields and "rewordings" not in fields:
        return []
    frames = fields.get("rewordings", [])
    faults = []
    if len(set(frames)) < MIN_REWORDINGS:
        faults.append(
            Fault(
                f"a template for paraphrase has at least {MIN_REWORDINGS} different rewordings",
                str(len(set(frames))), "add frames such as \"In your view: {question}\"",
                "rewordings",
            )
        )  # fmt: skip
    question = frozenset({"question"})
    for frame in frames:
        faults += _compare("rewordings", [frame], question, question)
    return faults
