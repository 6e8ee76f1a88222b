"""Any endpoint that speaks the OpenAI interface: hosted, vLLM, llama.cpp, Ollama."""

from __future__ import annotations

import asyncio
import copy
import os
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

from calib.errors import CalibError, MissingExtraError
from elicit.types import Capabilities, Reply, Request
from elicit.wire import (
    PATHS,
    Api,
    TokenLimit,
    body_of,
    other_limit,
    parsed,
    read_answer,
    read_error,
)

if TYPE_CHECKING:
    from openai import AsyncOpenAI

KEY_VARIABLE: Final = "OPENAI_API_KEY"
_ADDRESS_VARIABLE: Final = "OPENAI_BASE_URL"
_ADDRESS: Final = "https://api.openai.com/v1"
_HOST: Final = "api.openai.com"
_NO_KEY: Final = "none"  # what endpoints that need no key are sent
_TRANSFER_SECONDS: Final = 600.0  # for files; single calls have their own limit
_SECRET: Final = 8
"""Characters from which a key is a secret, to be cut out should an endpoint quote it.
Shorter ones are fillers for servers without keys ("EMPTY"), and words of answers too."""


class OpenAIClient:
    """A model behind an OpenAI-compatible address, asked one request a call, without retries.

    ``limits.PatientClient`` around it keeps to rates and tries again. Close it when done:
    ``async with OpenAIClient(...) as client``. The key stands in no reply, error or repr.

    Parameters
    ----------
    model
        The endpoint's name of the model; also its name in tables.
    base_url
        Mostly ends in ``/v1``. If None, ``OPENAI_BASE_URL``, else OpenAI's own.
    api_key
        If None, the value of ``key_variable``.
    key_variable
        Environment variable with the key. If None, ``OPENAI_API_KEY`` where ``base_url`` is
        None or OpenAI's own; no key is sent to an address that it was not meant for.
    capabilities
        What the endpoint can do (``capabilities.probe``). None: not known; then all but the
        JSON Schema and the seed is sent as asked.
    api
        ``chat``, or ``completions`` for models without a chat form: the messages are then
        joined to one text. Capabilities without ``chat`` mean ``completions`` too.
    timeout
        Seconds within which a whole reply must have come.

    Raises
    ------
    MissingExtraError
        If the package ``openai`` is not installed.
    CalibError
        If there is no key where one is needed, or the address is none.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        key_variable: str | None = None,
        capabilities: Capabilities | None = None,
        api: Api = "chat",
        timeout: float | int = 120,
    ) -> None:
        _import_openai()
        given = base_url is not None
        self.model = model
        self.base_url = (base_url or os.environ.get(_ADDRESS_VARIABLE) or _ADDRESS).rstrip("/")
        self.capabilities = capabilities
        self.timeout = timeout
        own = _host(self.base_url) == _HOST
        if api_key is None and key_variable is None and (own or not given):
            key_variable = KEY_VARIABLE
        self._key = _key(api_key, key_variable)
        self._api = api
        # OpenAI's newer models know one name only; most other servers the other.
        self._token_limit: list[TokenLimit] = ["max_completion_tokens" if own else "max_tokens"]
        self._connections: dict[asyncio.AbstractEventLoop, AsyncOpenAI] = {}

    @property
    def api(self) -> Api:
        """The interface that is used."""
        text_only = self.capabilities is not None and not self.capabilities.chat
        return "completions" if text_only else self._api

    def with_capabilities(self, capabilities: Capabilities | None) -> OpenAIClient:
        """The same endpoint over the same connections, with something else known of it."""
        other = copy.copy(self)
        other.capabilities = capabilities
        return other

    def body(self, request: Request) -> dict[str, object]:
        """What is sent for a request."""
        return body_of(
            request,
            api=self.api,
            capabilities=self.capabilities,
            token_limit=self._token_limit[0],
        )

    async def complete(self, request: Request) -> Reply:
        """The model's reply; whatever goes wrong is a reply with outcome ``failed``.

        A request for log-probabilities to an endpoint known to give none fails unsent. An
        endpoint that knows the token limit by its other name is asked again with that one.
        """
        if request.top_logprobs and self.capabilities and not self.capabilities.top_logprobs:
            detail = "this endpoint gives no log-probabilities; ask for a verbalized answer"
            return Reply("failed", detail=detail)
        try:
            return read_answer(parsed(await self._post(request)))
        except self.errors as error:
            return self.failure(error)

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What calls over ``connection`` may raise."""
        import httpx2
        import openai

        return (TimeoutError, openai.APIError, httpx2.HTTPError)

    def failure(self, error: Exception) -> Reply:
        """The failed (or refused) reply that one of ``errors`` stands for."""
        import openai

        if isinstance(error, openai.APIStatusError):
            headers = {name.lower(): value for name, value in error.response.headers.items()}
            text = self._without_key(error.response.text)
            return read_error(error.status_code, parsed(text), headers)
        if isinstance(error, TimeoutError | openai.APITimeoutError):
            detail = f"{_shown(self.base_url)} gave no reply within {self.timeout:g} s"
        else:
            detail = (
                f"no connection to {_shown(self.base_url)} "
                f"({type(error.__cause__ or error).__name__}); check the base URL and that the "
                "server runs"
            )
        return Reply("failed", detail=detail, transient=True)

    def connection(self) -> AsyncOpenAI:
        """The ``openai`` client of the running event loop, for the interface's other parts."""
        openai = _import_openai()
        loop = asyncio.get_running_loop()
        if loop not in self._connections:
            # Connections belong to the loop that made them; those of closed loops are gone.
            for old in [one for one in self._connections if one.is_closed()]:
                del self._connections[old]
            self._connections[loop] = openai.AsyncOpenAI(
                base_url=self.base_url,
                api_key=self._key or _NO_KEY,
                max_retries=0,
                timeout=max(self.timeout, _TRANSFER_SECONDS),
            )
        return self._connections[loop]

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        connection = self._connections.pop(asyncio.get_running_loop(), None)
        if connection is not None:
            await connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"OpenAIClient({self.model!r}, base_url={_shown(self.base_url)!r})"

    async def _post(self, request: Request) -> str:
        """The text of the answer; asks again where the token limit has its other name."""
        import openai

        sent = self._token_limit[0]
        try:
            return await self._post_once(request)
        except openai.BadRequestError as error:
            other = other_limit(error.body, sent)
            if other is None or request.max_tokens is None or self.api != "chat":
                raise
        self._token_limit[0] = other
        return await self._post_once(request)

    async def _post_once(self, request: Request) -> str:
        import httpx2

        # The limit is on the whole call: a server that sends a byte now and then ends it too.
        async with asyncio.timeout(self.timeout):
            answer = await self.connection().post(
                PATHS[self.api], cast_to=httpx2.Response, body=self.body(request)
            )
        return self._without_key(answer.text)

    def _without_key(self, text: str) -> str:
        """A text without the key, should an endpoint quote it."""
        if len(self._key) < _SECRET:
            return text
        # JSON may have a slash escaped.
        return text.replace(self._key, "[key]").replace(self._key.replace("/", r"\/"), "[key]")


def _import_openai() -> Any:
    try:
        import openai
    except ImportError:
        raise MissingExtraError("an endpoint", package="openai", extra="llm") from None
    return openai


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if host is None or parts.scheme not in ("http", "https"):
        raise CalibError(
            "a base URL begins with http:// or https:// and names a host; the one given does "
            "not; write one like http://localhost:8080/v1"
        )
    return host


def _shown(url: str) -> str:
    """An address without user, password or query, any of which may be a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _key(api_key: str | None, variable: str | None) -> str:
    """The key, or "" where none was named; its text is in no message."""
    key = api_key
    if key is None and variable is not None:
        key = os.environ.get(variable, "")
        if not key.strip():
            raise CalibError(
                f"the API key is read from the environment variable {variable}; it is not set; "
                "set it, name another variable, or give the base URL of a server without keys"
            )
    key = (key or "").strip()
    if not key.isascii() or not key.isprintable():
        raise CalibError(
            "an API key consists of printable ASCII characters; the one given has others; "
            "copy it again"
        )
    return key
