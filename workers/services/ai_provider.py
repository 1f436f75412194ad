"""A language model: a small protocol, and an adapter for any OpenAI-compatible server."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from teknav_ops.errors import PermanentError, Throttled, TransientError
from teknav_ops.outbound.retry_after import retry_after_seconds
from teknav_ops.payloads.redaction import error_text, redact_beginning
from teknav_ops.settings import Settings

if TYPE_CHECKING:
    import openai

_DEFAULT_PAUSE_SECONDS: Final = 20.0
#: What the library raises at a page of a proxy, or of a server that speaks something else: it expects a completion.
_NOT_OF_THE_API: Final = (ValueError, TypeError, AttributeError, LookupError, RecursionError)
_STREAM: Final = "text/event-stream"
_QUOTA_CODES: Final = frozenset({"insufficient_quota", "billing_hard_limit_reached"})


class ProviderNotConfigured(PermanentError):
    """The task needs a language model and none is set (TEKNAV_AI_BASE_URL, TEKNAV_AI_MODEL)."""


class ContentRefused(PermanentError):
    """The provider will not work on this content."""


class AiRequestRejected(PermanentError):
    """The provider calls the request wrong: unknown model, too long, unsupported option."""


class AiOutputTruncated(PermanentError):
    """The answer did not fit into the output limit; raise TEKNAV_AI_OUTPUT_TOKEN_LIMIT or ask for less."""


class AiUnavailable(TransientError):
    """No answer: a server error, a broken connection, or too slow."""


class AiLoginRefused(TransientError):
    """The provider refused our key: the settings are wrong, not the job."""


class AiQuotaExhausted(TransientError):
    """The provider's account has no money left."""


class AiThrottled(Throttled):
    """The provider asked for a pause (429)."""


@dataclasses.dataclass(frozen=True, slots=True)
class AiAnswer:
    """One answer, and what it took."""

    text: str
    model: str
    input_tokens: int
    output_tokens: int
    duration_ms: float


class AiProvider(Protocol):
    """Answers a conversation with JSON that should fit the schema; the caller checks."""

    name: str
    model: str

    def answer(
        self, messages: list[dict[str, str]], *, schema: Mapping[str, Any], output_token_limit: int,
        on_text: Callable[[int], None],
    ) -> AiAnswer:  # fmt: skip
        """Ask once. `on_text` is told the characters received so far, where the provider streams.

        Raises:
            ContentRefused, AiRequestRejected, AiOutputTruncated: another attempt cannot help.
            AiUnavailable, AiLoginRefused, AiQuotaExhausted, AiThrottled: it may. Those whose call has taken tokens
            carry them as `usage` (input and output), or None where only the provider knows.
        """


def with_usage(error: Exception, usage: tuple[int, int] | None) -> Exception:
    """Attach what a failed call took (input and output tokens), or None where nobody here knows."""
    error.usage = usage  # type: ignore[attr-defined]
    return error


class OpenAiProvider:
    """Chat completions with a JSON schema: OpenAI, vLLM, Ollama and whoever speaks like them."""

    name = "openai-compatible"

    def __init__(
        self, base_url: str, api_key: str, model: str, *, timeout_seconds: float = 120.0, streams: bool = False
    ) -> None:
        self.model = model
        self._base_url = base_url
        self._api_key = api_key
        self._timeout_seconds = timeout_seconds
        self._streams = streams
        self._made: openai.OpenAI | None = None

    @property
    def _client(self) -> openai.OpenAI:
        if self._made is None:
            import openai

            # Retries are the engine's: visible, audited, and without a thread that waits.
            self._made = openai.OpenAI(
                base_url=self._base_url, api_key=self._api_key, max_retries=0, timeout=self._timeout_seconds
            )
        return self._made

    def answer(
        self, messages: list[dict[str, str]], *, schema: Mapping[str, Any], output_token_limit: int,
        on_text: Callable[[int], None],
    ) -> AiAnswer:  # fmt: skip
        """Ask once."""
        import openai

        request: dict[str, Any] = {
            "model": self.model,
            "messages": messages,
            "max_completion_tokens": output_token_limit,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": dict(schema)},
            },
        }
        started = time.monotonic()
        try:
            reply = self._streamed(request, on_text) if self._streams else self._whole(request)
        except openai.OpenAIError as error:
            raise sorted_error(error) from None
        except _NOT_OF_THE_API as error:
            raise _no_answer(error) from None
        return reply.checked(self.model, (time.monotonic() - started) * 1000)

    def _whole(self, request: dict[str, Any]) -> _Reply:
        import openai

        completion = self._client.chat.completions.create(**request)
        reply = _Reply(model=getattr(completion, "model", "") or "")
        if not isinstance(completion, openai.types.chat.ChatCompletion):
            raise ValueError("no completion")
        if completion.usage is not None:
            reply.usage = (completion.usage.prompt_tokens, completion.usage.completion_tokens)
        for choice in (completion.choices or [])[:1]:
            reply.text = choice.message.content or ""
            reply.refusal = choice.message.refusal or ""
            reply.finish_reason = choice.finish_reason or ""
        return reply

    def _streamed(self, request: dict[str, Any], on_text: Callable[[int], None]) -> _Reply:
        reply = _Reply()
        # The timeout of the client is per read; a stream that drips for ever needs one of its own.
        deadline = time.monotonic() + self._timeout_seconds
        with self._client.chat.completions.create(
            **request, stream=True, stream_options={"include_usage": True}
        ) as stream:
            try:
                for chunk in stream:
                    reply.take(chunk)
                    on_text(len(reply.text))
                    if time.monotonic() > deadline:
                        words = "the answer was still being written at the time limit"
                        raise with_usage(AiUnavailable(words), reply.usage_if_told)
            except _NOT_OF_THE_API as error:
                # What came before it was written by a model, and is paid.
                raise with_usage(_no_answer(error), reply.usage_if_told) if reply.has_begun else error from None
        if not reply.has_begun and _STREAM not in stream.response.headers.get("content-type", ""):
            raise ValueError("no stream of a completion")
        if not reply.finish_reason:
            raise with_usage(AiUnavailable("the answer broke off"), reply.usage_if_told)
        return reply


@dataclasses.dataclass(slots=True)
class _Reply:
    text: str = ""
    refusal: str = ""
    finish_reason: str = ""
    model: str = ""
    usage: tuple[int, int] = (0, 0)
    has_begun: bool = False

    @property
    def usage_if_told(self) -> tuple[int, int] | None:
        """What it took, if the provider came to say so."""
        return self.usage if any(self.usage) else None

    def take(self, chunk: Any) -> None:
        """Add one piece of a stream."""
        self.model = chunk.model or self.model
        self.has_begun = self.has_begun or bool(chunk.choices)
        if chunk.usage is not None:
            self.usage = (chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
        for choice in chunk.choices[:1]:
            self.text += choice.delta.content or ""
            self.refusal += choice.delta.refusal or ""
            self.finish_reason = choice.finish_reason or self.finish_reason

    def checked(self, model: str, duration_ms: float) -> AiAnswer:
        """The answer, unless the provider refused or stopped in the middle."""
        if self.refusal or self.finish_reason == "content_filter":
            raise with_usage(ContentRefused(f"refused by the provider: {self.refusal[:300] or 'filtered'}"), self.usage)
        if self.finish_reason == "length":
            raise with_usage(AiOutputTruncated("the answer reached the output limit"), self.usage)
        return AiAnswer(self.text, self.model or model, *self.usage, duration_ms)


def _no_answer(error: Exception) -> AiUnavailable:
    return AiUnavailable(f"the answer is none of the API's ({type(error).__name__}: {error_text(error, 200)})")


def sorted_error(error: openai.OpenAIError) -> Exception:
    """What an error of the SDK means for the job."""
    import openai

    if not isinstance(error, openai.APIStatusError):
        unavailable = AiUnavailable(f"{type(error).__name__}: {error_text(error, 500)}")
        return unavailable if _was_never_sent(error) else with_usage(unavailable, None)
    words = redact_beginning(f"{error.status_code} {error.message}", 500)
    pause_seconds = retry_after_seconds(error.response.headers.get("retry-after"))
    if error.code in _QUOTA_CODES:
        return AiQuotaExhausted(words, retry_after_seconds=pause_seconds)
    if error.status_code == 429:
        return AiThrottled(words, retry_after_seconds=pause_seconds or _DEFAULT_PAUSE_SECONDS)
    if error.status_code in (401, 403):
        return AiLoginRefused(words)
    if error.code in ("content_filter", "content_policy_violation"):
        return ContentRefused(words)
    if error.status_code in (408, 409, 425) or error.status_code >= 500:
        return AiUnavailable(words, retry_after_seconds=pause_seconds)
    return AiRequestRejected(words)


def _was_never_sent(error: Exception) -> bool:
    # By name: which HTTP library the SDK uses is its own affair.
    return type(error.__cause__).__name__ in ("ConnectError", "ConnectTimeout", "PoolTimeout")


def open_ai_provider(settings: Settings) -> AiProvider | None:
    """The provider of these settings, or None where none is set."""
    if settings.ai_base_url is None or settings.ai_model is None:
        return None
    key = settings.ai_api_key.get_secret_value() if settings.ai_api_key else "none"
    return OpenAiProvider(
        settings.ai_base_url, key, settings.ai_model,
        timeout_seconds=settings.ai_timeout_seconds, streams=settings.ai_streaming,
    )  # fmt: skip
