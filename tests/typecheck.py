"""The run-time checker of annotations that the import hook of ``conftest`` applies."""

from __future__ import annotations

from typing import Any, Self

from beartype import BeartypeConf, FrozenDict, beartype

# Functions are decorated one by one, where beartype cannot know what Self stands for.
checked = beartype(conf=BeartypeConf(hint_overrides=FrozenDict({Self: Any})))
