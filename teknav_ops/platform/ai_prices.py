"""What a token of a model costs, and which of the AI limits can stop anything."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

from teknav_ops.settings import Settings


@dataclasses.dataclass(frozen=True, slots=True)
class Price:
    """Millionths of a US dollar per token, which is dollars per million tokens."""

    input: float
    output: float

    def of(self, input_tokens: int, output_tokens: int) -> int:
        """What a call costs, rounded up."""
        return math.ceil(input_tokens * self.input + output_tokens * self.output)


def find_price(settings: Settings, model: str) -> Price | None:
    """The price by setting, else of the model at its provider, else of a model of that name at any provider.

    None is unknown, which is not the same as free.
    """
    if settings.ai_input_usd_per_million is not None and settings.ai_output_usd_per_million is not None:
        return Price(settings.ai_input_usd_per_million, settings.ai_output_usd_per_million)
    from genai_prices import Usage, calc_price

    million = 1_000_000
    # Each direction alone, so that one rate is read off each.
    usages = (Usage(input_tokens=million, output_tokens=0), Usage(input_tokens=0, output_tokens=million))
    for url in (settings.ai_base_url, None):
        try:
            rates = [calc_price(usage, model_ref=model, provider_api_url=url).total_price for usage in usages]
        except LookupError:
            # A gateway or a proxy of our own: the model costs what it costs where it is known.
            continue
        return Price(float(rates[0]), float(rates[1]))
    return None


def idle_limits(settings: Settings, price: Price | None) -> Iterator[tuple[str, bool]]:
    """Which limits can never stop a call, or stop every call, and whether that is a fault."""
    dollars = "TEKNAV_AI_JOB_USD_LIMIT and TEKNAV_AI_DAILY_USD_LIMIT cannot bind"
    if price is None:
        yield f"{dollars}: no price is known of {settings.ai_model}", True
    elif not price.input and not price.output:
        yield f"{dollars}: {settings.ai_model} costs nothing", False
    elif price.of(0, settings.ai_output_token_limit) > settings.ai_job_usd_limit * 1e6:
        yield "TEKNAV_AI_JOB_USD_LIMIT stops every call: one answer may cost more", True
    if settings.ai_output_token_limit >= settings.ai_job_token_limit:
        yield "TEKNAV_AI_JOB_TOKEN_LIMIT stops every call: one answer may have as many", True
    if price is not None and price.output and settings.ai_daily_usd_limit < settings.ai_job_usd_limit:
        yield "TEKNAV_AI_JOB_USD_LIMIT cannot bind: the day's limit is lower", False
    if settings.ai_daily_token_limit < settings.ai_job_token_limit:
        yield "TEKNAV_AI_JOB_TOKEN_LIMIT cannot bind: the day's limit is lower", False
