"""Compiled programs: each once in a process, and kept in a folder for the next process."""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any, Final

import jax
import jax.numpy as jnp
from jax.experimental.compilation_cache.compilation_cache import reset_cache

VARIABLE: Final = "CALIB_CACHE"
"""Of the environment: the folder that keeps compiled programs, or ``off``."""
MOST_BYTES: Final = 256 * 2**20
"""Kept at most; the oldest programs make room. One of a fit takes about 1 MB."""
DESK: Final = ".desk."
"""Beginning of the name of a folder in which one program is being compiled."""
ABANDONED: Final = 24 * 3600.0
"""Seconds after which such a folder is that of a run that was killed."""
TROUBLE: Final = ("Error reading persistent", "Error writing persistent")
"""How JAX's warnings about its cache begin; it goes on without the cache."""

logger = logging.getLogger(__name__)
_compiled: dict[Any, Any] = {}
_compiling = Lock()
_noted: set[str] = set()


def compiled(name: Hashable, function: Callable[..., Any], *arguments: Any) -> Any:
    """The function, compiled once for its name and the shapes of its arguments.

    Whatever else the function depends on belongs in the name. The program is kept in
    ``cache_folder`` and taken from there by later processes, which trace the function but do
    not compile it; the results are the same to the last bit.
    """
    leaves, structure = jax.tree.flatten(arguments)
    shapes = tuple((jnp.shape(leaf), str(jnp.result_type(leaf))) for leaf in leaves)
    with _compiling:
        known = (name, structure, shapes)
        if known not in _compiled:
            _compiled[known] = _compile(jax.jit(function).lower(*arguments))
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


def _compile(lowered: Any) -> Any:
    """From the folder where it is there, else by the compiler; the folder never stops a fit."""
    folder = cache_folder()
    config: Any = jax.config
    theirs = config.jax_compilation_cache_dir or not config.jax_enable_compilation_cache
    # A user's own settings of JAX's cache come first.
    if folder is None or theirs:
        return lowered.compile()
    try:
        desk = _laid_out(folder)
    except OSError as error:
        _note(folder, str(error))
        return lowered.compile()
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            with _keeping_in(desk):
                program = lowered.compile()
        _put_away(desk, folder, [str(one.message) for one in said])
    finally:
        shutil.rmtree(desk, ignore_errors=True)
    for one in said:
        if not str(one.message).startswith(TROUBLE):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    return program


def _laid_out(folder: Path) -> Path:
    """A folder for one program, with links to all that is kept.

    JAX writes its files in place, where a run that is killed leaves half of one and another
    process reads it. So it writes here, and what is whole is moved.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for former in folder.glob(f"{DESK}*"):
        with suppress(FileNotFoundError):
            if time.time() - former.stat().st_mtime > ABANDONED:
                shutil.rmtree(former, ignore_errors=True)
    desk = Path(tempfile.mkdtemp(prefix=DESK, dir=folder))
    try:
        for entry in _entries(folder):
            # Another process may make room meanwhile.
            with suppress(FileNotFoundError):
                (desk / entry.name).hardlink_to(entry)
    except OSError:
        shutil.rmtree(desk, ignore_errors=True)
        raise
    return desk


@contextmanager
def _keeping_in(desk: Path) -> Iterator[None]:
    """JAX's own cache in this folder, for one program: others of the process are not ours."""
    settings = {
        "jax_compilation_cache_dir": str(desk),
        "jax_compilation_cache_max_size": -1,
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
        # Of GPUs: their path would be part of the program's key.
        "jax_persistent_cache_enable_xla_caches": "none",
    }
    former = {name: getattr(jax.config, name) for name in settings}
    reset_cache()
    try:
        for name, value in settings.items():
            jax.config.update(name, value)
        yield
    finally:
        for name, value in former.items():
            jax.config.update(name, value)
        reset_cache()


def _put_away(desk: Path, folder: Path, said: list[str]) -> None:
    """Move what is new to the folder, and keep the folder small."""
    trouble = [message for message in said if message.startswith(TROUBLE)]
    try:
        if trouble:
            # Which one is damaged is not said: all are compiled again as they are needed.
            if any(message.startswith(TROUBLE[0]) for message in trouble):
                for entry in _entries(folder):
                    entry.unlink(missing_ok=True)
            _note(folder, trouble[0])
            return
        new = [entry for entry in _entries(desk) if not (folder / entry.name).exists()]
        for entry in new:
            entry.replace(folder / entry.name)
        logger.debug("compiled %d programs, the others were kept in %s", len(new), folder)
        if new:
            _make_room(folder)
    except OSError as error:
        _note(folder, str(error))


def _make_room(folder: Path) -> None:
    kept = []
    for entry in _entries(folder):
        with suppress(FileNotFoundError):
            kept.append((entry.stat().st_mtime, entry.stat().st_size, entry))
    total = 0
    for _, size, entry in sorted(kept, reverse=True):
        total += size
        if total > MOST_BYTES:
            entry.unlink(missing_ok=True)


def _entries(folder: Path) -> list[Path]:
    return [entry for entry in folder.glob("*-cache") if entry.is_file()]


def _note(folder: Path, why: str) -> None:
    """Once a process and reason, on standard error."""
    if why not in _noted:
        _noted.add(why)
        logger.warning(
            "note: compiled programs were not kept in %s (%s): the next run compiles them again; "
            "set %s to a folder that can be written, or to off",
            folder,
            " ".join(why.split())[:200],
            VARIABLE,
        )
