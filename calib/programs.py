"""Compiled programs: each once in a process, and kept in a folder for the next process."""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import platform
from collections.abc import Callable, Hashable
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Any, Final

import jax
import jax.numpy as jnp
from jax.experimental.serialize_executable import deserialize_and_load, serialize

from calib.errors import CalibError
from calib.files import atomic_file

VARIABLE: Final = "CALIB_CACHE"
"""Of the environment: the folder that keeps compiled programs, or ``off``."""
MOST_BYTES: Final = 256 * 2**20
"""Kept at most; the oldest programs make room. One of a fit takes about 1 MB."""
SUFFIX: Final = ".program"

logger = logging.getLogger(__name__)
_compiled: dict[Any, Any] = {}
_compiling = Lock()
_noted: set[str] = set()


def compiled(name: Hashable, function: Callable[..., Any], *arguments: Any) -> Any:
    """The function, compiled once for its name and the shapes of its arguments.

    Whatever else the function depends on belongs in the name: text, numbers, functions of this
    package, or tuples of them. The program is kept in ``cache_folder`` and taken from there by
    later processes, which neither trace nor compile the function; the results are the same to
    the last bit. Of a name with a function from elsewhere, which may say something else
    tomorrow, nothing is kept.
    """
    leaves, structure = jax.tree.flatten(arguments)
    shapes = tuple((jnp.shape(leaf), str(jnp.result_type(leaf))) for leaf in leaves)
    with _compiling:
        known = (name, structure, shapes)
        if known not in _compiled:

            def compile_now() -> Any:
                return jax.jit(function).lower(*arguments).compile()

            entry = _entry(_told(name), str((str(structure), shapes)))
            _compiled[known] = compile_now() if entry is None else _kept(entry, compile_now)
        return _compiled[known]


def cache_folder() -> Path | None:
    """Where compiled programs of this machine are kept; None where they are not.

    In the user's cache folder, or where the environment variable ``CALIB_CACHE`` says; ``off``
    keeps none. Whoever may write there decides what the next process runs.
    """
    chosen = os.environ.get(VARIABLE, "").strip()
    if chosen.lower() == "off":
        return None
    if chosen:
        folder = Path(chosen)
    else:
        from platformdirs import user_cache_path

        folder = user_cache_path("opinion-calibration", appauthor=False) / "programs"
    return folder / _machine()


def _machine() -> str:
    """Of the processor and all that it can do: another one may not run the same program."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        can_do = next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        can_do = platform.processor()
    return hashlib.sha256(f"{platform.machine()} {can_do}".encode()).hexdigest()[:16]


def _told(name: Hashable) -> str | None:
    """The name as another process would write it; None where it may mean something else there."""
    if isinstance(name, str | int | float):
        return repr(name)
    if isinstance(name, tuple):
        parts = [_told(part) for part in name]
        return None if None in parts else f"({', '.join(map(str, parts))})"
    module, place = getattr(name, "__module__", ""), getattr(name, "__qualname__", "<")
    return f"{module}.{place}" if module.startswith("calib.") and "<" not in place else None


@cache
def _sources() -> str:
    """A hash of this package's code: of another version nothing is taken."""
    found = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()


def _entry(name: str | None, shapes: str) -> Path | None:
    """The file of a program; None where it is not kept."""
    config: Any = jax.config
    theirs = config.jax_compilation_cache_dir or not config.jax_enable_compilation_cache
    # A user's own settings of JAX's cache come first.
    folder = None if theirs or name is None else cache_folder()
    if folder is None:
        return None
    versions = [version(package) for package in ("jax", "jaxlib", "numpyro")]
    settings = (
        # Whether numbers have 64 bits, and what else changes the same function's program.
        str(jnp.result_type(float)),
        jax.default_backend(),
        jax.device_count(),
        config.jax_default_matmul_precision,
        os.environ.get("XLA_FLAGS", ""),
    )
    whole = repr((name, shapes, versions, settings, _sources()))
    return folder / (hashlib.sha256(whole.encode()).hexdigest() + SUFFIX)


def _kept(entry: Path, compile_now: Callable[[], Any]) -> Any:
    """From the folder where it is there, else by the compiler; the folder never stops a fit."""
    try:
        content = entry.read_bytes()
    except FileNotFoundError:
        logger.debug("%s is compiled", entry.name)
    except OSError as error:
        _note(entry.parent, str(error))
        return compile_now()
    else:
        # What is kept is machine code, which pickle makes no more dangerous than it is; a
        # damaged file may fail in any way that pickle and XLA know of.
        try:
            program = deserialize_and_load(*pickle.loads(content))
        except Exception as error:
            logger.warning(
                "note: the compiled program %s is damaged (%r): compiled anew", entry, error
            )
        else:
            logger.debug("%s was kept", entry.name)
            return program
    program = compile_now()
    # Not every kind of device can give its programs away.
    try:
        entry.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with atomic_file(entry) as draft:
            draft.write_bytes(pickle.dumps(serialize(program)))
        _make_room(entry.parent)
    except (OSError, CalibError, ValueError, RuntimeError, pickle.PicklingError) as error:
        _note(entry.parent, str(error))
    return program


def _make_room(folder: Path) -> None:
    kept = []
    for entry in folder.glob(f"*{SUFFIX}"):
        with suppress(FileNotFoundError):
            kept.append((entry.stat().st_mtime, entry.stat().st_size, entry))
    total = 0
    for _, size, entry in sorted(kept, reverse=True):
        total += size
        if total > MOST_BYTES:
            entry.unlink(missing_ok=True)


def _note(folder: Path, why: str) -> None:
    """Once a process and reason, on standard error."""
    if why not in _noted:
        _noted.add(why)
        logger.warning(
            "note: compiled programs were not kept in %s (%s): the next run compiles them again; "
            "set %s to a folder that can be written, or to off",
            folder,
            " ".join(why.split())[:400],
            VARIABLE,
        )
