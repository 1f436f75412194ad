"""`teknav webhooks`: where events go, and how deliveries went."""

from __future__ import annotations

from typing import Annotated

import typer

from teknav_ops.cli import show
from teknav_ops.cli.context import Context
from teknav_ops.cli.options import BoundedLimitOption, JsonOption, parse_data, parse_span

app = typer.Typer(help="Webhook endpoints: add, list, switch off and on, change secrets.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="Name of the endpoint.")]


@app.command("list")
def list_endpoints(json_output: JsonOption = False) -> None:
    """All endpoints and their health."""
    endpoints = Context().control.webhooks.endpoints()
    if json_output:
        show.as_json(endpoints)
        return
    show.table(
        ("name", "status", "failures", "last success", "events", "url"),
        [
            (e.name, e.status, e.failure_count, e.last_success_at, ", ".join(e.event_types) or "all", e.url)
            for e in endpoints
        ],
        empty="No endpoints. Add one: teknav webhooks add NAME URL",
    )


@app.command()
def add(
    name: NameArgument,
    url: Annotated[str, typer.Argument(help="https://…")],
    event: Annotated[list[str] | None, typer.Option(help="Type to deliver; repeat for more. None: all.")] = None,
) -> None:
    """Add an endpoint and print its secret, this once."""
    secret = Context().control.webhooks.add(name, url, event_types=event or [])
    show.console.print(f"{name} added. Its signing secret, shown this once:")
    show.console.print(secret, markup=False, soft_wrap=True)


@app.command()
def enable(name: NameArgument) -> None:
    """Deliver to an endpoint again, with a clean slate."""
    Context().control.webhooks.enable(name)
    show.console.print(f"{name} is enabled. Replay what waits: teknav dlq replay-batch webhooks:deliver")


@app.command()
def disable(name: NameArgument, reason: Annotated[str, typer.Option(help="Why.")] = "by an operator") -> None:
    """Deliver nothing more to an endpoint."""
    Context().control.webhooks.disable(name, reason=reason)
    show.console.print(f"{name} is disabled")


@app.command("rotate-secret")
def rotate_secret(
    name: NameArgument, overlap: Annotated[str, typer.Option(help="How long the old secret signs too.")] = "24h"
) -> None:
    """Give an endpoint a new secret and print it, this once."""
    secret = Context().control.webhooks.rotate_secret(name, overlap=parse_span(overlap, name="--overlap"))
    show.console.print(secret, markup=False, soft_wrap=True)


@app.command()
def publish(
    event_type: Annotated[str, typer.Argument(help="Such as article.published.")],
    data: Annotated[str, typer.Option(help="The event's data: JSON, or @file.")] = "{}",
    json_output: JsonOption = False,
) -> None:
    """Deliver an event to every enabled endpoint that takes its type."""
    from teknav_ops.webhook_events import publish_event

    context = Context()
    published = publish_event(context.producer, context.database, event_type, parse_data(data))
    if json_output:
        show.as_json(published)
        return
    show.table(
        ("endpoint", "job"),
        [(name, accepted.job_id) for name, accepted in published.deliveries.items()],
        empty=f"No enabled endpoint takes {event_type}; see `teknav webhooks list`.",
    )


@app.command()
def deliveries(name: NameArgument, limit: BoundedLimitOption = 20, json_output: JsonOption = False) -> None:
    """The newest attempts at an endpoint."""
    attempts = Context().control.webhooks.deliveries(name, limit=limit)
    if json_output:
        show.as_json(attempts)
        return
    show.table(
        ("at", "outcome", "status", "ms", "attempt", "event", "error"),
        [(a.at, a.outcome, a.status_code, a.duration_ms, a.attempt, a.event_type, a.error) for a in attempts],
        empty=f"Nothing was delivered to {name} yet.",
    )
