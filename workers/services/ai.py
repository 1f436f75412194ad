"""AI tasks: ask the provider within the budget, check what it wrote, and write down what it took."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy.orm import Session

from teknav_ops.engine.processor import JobContext
from teknav_ops.errors import StorageUnavailable, TransientError
from teknav_ops.platform.ai_prices import Price, find_price
from teknav_ops.settings import Settings
from teknav_ops.storage.database import Database
from teknav_ops.web_addresses import ascii_host
from workers.services.ai_ledger import (
    BYTES_PER_TOKEN,
    AiDailyBudgetSpent,
    AiJobOverBudget,
    AiLedger,
    Limits,
    counted,
    end_in,
)
from workers.services.ai_provider import AiAnswer, AiProvider, ProviderNotConfigured, open_ai_provider
from workers.services.ai_text import TextRules, text_problems

#: What a server adds to the messages: the schema, marks of roles, its own instructions.
_OVERHEAD_TOKENS: Final = 4_000
#: Of a call that failed before a model had it.
_NOTHING: Final = (0, 0)
#: One repair: a model that fails twice in a row seldom succeeds the third time.
_TRY_COUNT: Final = 2
_UNSUPPORTED: Final = frozenset({"title", "default", "minLength", "maxLength", "minItems", "maxItems", "minimum",
                                 "maximum", "pattern", "description"})  # fmt: skip


class AiOutputInvalid(TransientError):
    """The model's answer did not fit, and neither did its correction."""


class Output(BaseModel):
    """What a model may fill in: these fields and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True)


OutputT = TypeVar("OutputT", bound=Output)
Check = Callable[[OutputT], list[str]]


def accept(_output: object) -> list[str]:
    """No problems beyond the schema's."""
    return []


class AiTaskRun:
    """One attempt of one task: `ask` as often as needed, then `succeed` in the effect's own transaction."""

    def __init__(
        self, run_id: int, job: JobContext[Any], task: str, ledger: AiLedger, provider: AiProvider | None,
        price: Price | None, output_token_limit: int, hosts: frozenset[str],
    ) -> None:  # fmt: skip
        self.id = run_id
        self._job = job
        self._task = task
        self._ledger = ledger
        self._provider = provider
        self._price = price
        self._output_token_limit = output_token_limit
        self._hosts = hosts
        self._started = time.monotonic()

    @property
    def provider_name(self) -> str:
        """Who works on it; `extractive` where no model does."""
        return self._provider.name if self._provider else "extractive"

    @property
    def has_model(self) -> bool:
        """Whether there is a model to ask."""
        return self._provider is not None

    def ask(
        self, material: Mapping[str, Any], fits: type[OutputT], rules: TextRules, check: Check[OutputT] = accept
    ) -> OutputT:
        """Have the task's instructions followed on the material; one correction is asked for.

        All texts of the answer are held to `rules`; `check` names further problems. The material is sent as
        JSON data, apart from the instructions.

        Raises:
            ProviderNotConfigured: there is no model to ask.
            AiOutputInvalid: two answers did not fit.
            AiJobOverBudget, AiDailyBudgetSpent: stopped before the call.
        """
        messages = [
            {"role": "system", "content": f"{read_prompt('rules')}\n\n{read_prompt(self._task)}"},
            {"role": "user", "content": json.dumps(material, ensure_ascii=False)},
        ]
        rules, problems = dataclasses.replace(rules, hosts=self._hosts), list[str]()
        for _ in range(_TRY_COUNT):
            answer = self._call(messages, _schema_of(fits))
            output, problems = _read(answer.text, fits, lambda output: text_problems(output, rules) + check(output))
            if output is not None:
                return output
            self._ledger.note(self.id, "rejected", model=answer.model, detail="; ".join(problems))
            correction = "This answer does not fit. Correct it and answer with the JSON object only:\n- "
            messages = [
                *messages[:2],
                {"role": "assistant", "content": answer.text},
                {"role": "user", "content": correction + "\n- ".join(problems)},
            ]
        raise AiOutputInvalid(f"{self._task}: {'; '.join(problems)}")

    def _call(self, messages: list[dict[str, str]], schema: Mapping[str, Any]) -> AiAnswer:
        if self._provider is None:
            raise ProviderNotConfigured(
                f"{self._task} needs a language model: set TEKNAV_AI_BASE_URL and TEKNAV_AI_MODEL"
            )
        expected = _bytes_of(messages) // BYTES_PER_TOKEN + 200
        self._ledger.reserve(
            self.id, self._job.job_id, tokens=expected + self._output_token_limit,
            micro_usd=self._price.of(expected, self._output_token_limit) if self._price else None,
        )  # fmt: skip
        try:
            answer = self._provider.answer(
                messages, schema=schema, output_token_limit=self._output_token_limit, on_text=self._show_progress
            )
        except Exception as error:
            self._record_failure(error, _bytes_of(messages))
            raise
        told = (answer.input_tokens, answer.output_tokens)
        sizes = (_bytes_of(messages), len(answer.text.encode("utf-8", "replace")))
        self._record(*self._counted(told, sizes), told=told, kind="answered", duration_ms=answer.duration_ms,
                     model=answer.model)  # fmt: skip
        return answer

    def _counted(self, told: tuple[Any, Any], sizes: tuple[int, int]) -> tuple[int, int]:
        """What the provider says that a call took, each figure only where it can be true."""
        most = (sizes[0] + _OVERHEAD_TOKENS, self._output_token_limit)
        return counted(told[0], sizes[0], most[0]), counted(told[1], sizes[1], most[1])

    def _record_failure(self, error: Exception, sent: int) -> None:
        usage, words = getattr(error, "usage", _NOTHING), f"{type(error).__name__}: {error}"
        if usage is not None:
            # What was refused in the middle took at least what was sent; what failed at once, nothing.
            took = usage if usage is _NOTHING else self._counted(usage, (sent, 0))
            self._record(*took, told=usage, kind="call-failed", detail=words)
            return
        self._ledger.leave_set_aside(self.id)
        self._ledger.note(self.id, "call-failed", detail=words)

    def _show_progress(self, character_count: int) -> None:
        self._job.report_progress(min(0.95, character_count / (self._output_token_limit * 3)), "the model is writing")

    def _record(
        self, input_tokens: int, output_tokens: int, *, told: tuple[Any, Any], kind: str, detail: str = "", **facts: Any
    ) -> None:
        if told != (input_tokens, output_tokens):
            detail = f"{detail} (the provider told {told!r:.80} tokens; counted here)".strip()
        cost = self._price.of(input_tokens, output_tokens) if self._price else None
        self._ledger.settle(self.id, input_tokens=input_tokens, output_tokens=output_tokens, micro_usd=cost)
        self._ledger.note(
            self.id, kind, input_tokens=input_tokens, output_tokens=output_tokens, cost_micro_usd=cost,
            detail=detail or None, **facts,
        )  # fmt: skip

    def succeed(self, session: Session) -> None:
        """Say so, together with the effect."""
        end_in(session, self.id, status="succeeded", error=None, duration_ms=self._elapsed_ms)

    def fail(self, error: BaseException) -> None:
        """Say so; `stopped` where a budget forbade the call."""
        status = "stopped" if isinstance(error, AiJobOverBudget | AiDailyBudgetSpent) else "failed"
        self._ledger.end(self.id, status=status, error=error, duration_ms=self._elapsed_ms)

    @property
    def _elapsed_ms(self) -> float:
        return (time.monotonic() - self._started) * 1000


@dataclasses.dataclass(frozen=True, slots=True)
class Ai:
    """Makes runs."""

    ledger: AiLedger
    provider: AiProvider | None
    price: Price | None
    output_token_limit: int
    #: Where texts may lead to.
    hosts: frozenset[str] = frozenset()

    @contextlib.contextmanager
    def run(self, job: JobContext[Any], task: str, article_id: int | None) -> Iterator[AiTaskRun]:
        """A run around the work of the `with` block; it is written down also when the block raises."""
        run_id = self.ledger.begin(
            job_id=job.job_id, delivery=job.delivery, attempt=job.attempt, task=task, article_id=article_id,
            provider=self.provider.name if self.provider else "extractive",
            model=self.provider.model if self.provider else "extractive", trace_id=job.trace_id,
        )  # fmt: skip
        run = AiTaskRun(run_id, job, task, self.ledger, self.provider, self.price, self.output_token_limit, self.hosts)
        try:
            yield run
        except BaseException as error:
            # Should SQL be away, the run stays `running` with its reservation; the error that ended it matters more.
            with contextlib.suppress(StorageUnavailable):
                run.fail(error)
            raise


def _bytes_of(messages: list[dict[str, str]]) -> int:
    return sum(len(message["content"].encode("utf-8", "replace")) for message in messages)


def open_ai(settings: Settings, database: Database) -> Ai:
    """The AI of these settings; without a provider, what can be done by extraction still is."""
    provider = open_ai_provider(settings)
    price = find_price(settings, provider.model) if provider else None
    hosts = frozenset({ascii_host(settings.site_host.partition(":")[0]).lower()})
    return Ai(AiLedger(database, Limits.of(settings)), provider, price, settings.ai_output_token_limit, hosts)


def read_prompt(name: str) -> str:
    """The instructions of a task."""
    return resources.files("workers").joinpath("prompts", f"{name}.md").read_text("utf-8").strip()


def _schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema without the keywords that strict servers refuse; the model checks those itself."""

    def plain(value: Any, *, is_names: bool = False) -> Any:
        if isinstance(value, list):
            return [plain(item) for item in value]
        if not isinstance(value, dict):
            return value
        kept = {key: plain(item, is_names=key in ("properties", "$defs")) for key, item in value.items()
                if is_names or key not in _UNSUPPORTED}  # fmt: skip
        return {**kept, "required": list(kept["properties"])} if "properties" in kept and not is_names else kept

    return dict(plain(model.model_json_schema()))


def _read(text: str, fits: type[OutputT], check: Check[OutputT]) -> tuple[OutputT | None, list[str]]:
    """The output, or what is wrong with it. Text around the object, such as a code fence, is forgiven."""
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        return None, ["the answer holds no JSON object"]
    try:
        output = fits.model_validate_json(text[start : end + 1])
    except ValidationError as error:
        return None, [f"{'.'.join(map(str, item['loc'])) or 'answer'}: {item['msg']}" for item in error.errors()[:10]]
    problems = check(output)
    return (None, problems) if problems else (output, [])
