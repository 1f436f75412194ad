"""Errors as RFC 9457 problem details: one table from exceptions to answers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import structlog
from anyio.to_thread import run_sync
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from teknav_ops import errors
from teknav_ops.access.attempts import TooManyAttempts
from teknav_ops.access.quota import QuotaExceeded
from teknav_ops.access.signed_in import UnknownSession
from teknav_ops.access.token_rows import UnknownToken
from teknav_ops.access.user_rows import UnknownUser
from teknav_ops.alerts.channels import ChannelFailed
from teknav_ops.api.methods import SAFE_METHODS
from teknav_ops.api.realtime.following import TooManyClients
from teknav_ops.payloads import plain
from teknav_ops.redis_state.connection import OUTAGE_ERRORS
from teknav_ops.reports.catalogue import UnknownReport
from teknav_ops.reports.workroom import ReportsBusy

log = structlog.get_logger("teknav.api")

MEDIA_TYPE: Final = "application/problem+json"
_RETRY_SECONDS: Final = 2
_FIELD: Final = re.compile(r"([a-z][a-z_./]*): (.+)", re.DOTALL)
#: An action may take many steps, and the answer to the last one may be what was lost.
_CUT_OFF: Final = "What you asked for may be done, or a part of it: look, then ask again."


class FieldProblem(BaseModel):
    """What is wrong with one field of the request."""

    field: str = Field(examples=["body.payload.article_id"])
    problem: str = Field(examples=["Field required"])


class Problem(BaseModel):
    """Why a request was not done (RFC 9457). `type` names the kind and never changes; `detail` is for people."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["urn:teknav:problem:unknown-job"])
    title: str = Field(examples=["Unknown job"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["job: no queue keeps a record of 'x'; finished jobs are kept for a while only"])
    errors: list[FieldProblem] | None = None


#: What a client is told of each error, by the nearest class. What is not here is a fault of ours: 500, no detail.
STATUS_OF: Final[dict[type[errors.TekNavError], int]] = {
    errors.UnknownQueue: 404,
    errors.UnknownJob: 404,
    errors.NoSnapshot: 404,
    UnknownUser: 404,
    UnknownToken: 404,
    UnknownSession: 404,
    errors.WrongState: 409,
    errors.IdempotencyConflict: 409,
    errors.SnapshotBusy: 409,
    errors.PayloadTooLarge: 413,
    errors.InvalidPayload: 422,
    errors.InvalidRequest: 422,
    errors.NotAllowed: 403,
    TooManyAttempts: 429,
    QuotaExceeded: 429,
    ChannelFailed: 502,
    errors.Throttled: 503,
    errors.TransientError: 503,
    errors.Away: 503,
    errors.RedisUnavailable: 503,
    TooManyClients: 503,
    UnknownReport: 404,
    ReportsBusy: 503,
    errors.StorageUnavailable: 503,
    errors.StorageRefused: 500,
    errors.SnapshotDiskFull: 507,
    errors.MissingSecretKey: 500,
    errors.CorruptRecord: 500,
    errors.PermanentError: 500,
    errors.MissingProcessor: 500,
    errors.EmbeddedServerFailed: 500,
}


#: What a processor's errors have in common says what becomes of a job; a caller's mistake is one all the same.
_SORTS: Final = (errors.PermanentError, errors.TransientError, errors.Throttled)


def status_of(error: type[BaseException]) -> int:
    """The status for an error's class: that of the nearest class in the table."""
    known = [base for base in error.__mro__ if base in STATUS_OF]
    for base in sorted(known, key=_SORTS.__contains__):
        return STATUS_OF[base]
    return 503 if issubclass(error, OUTAGE_ERRORS) else 500


def problem(
    status: int,
    title: str,
    detail: str = "",
    *,
    headers: Mapping[str, str] | None = None,
    kind: str | None = None,
    **more: Any,
) -> Response:
    """One problem. `title` names its kind, `detail` this occurrence and what to do."""
    kind = kind or re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    content = {"type": f"urn:teknav:problem:{kind}", "title": title, "status": status, "detail": detail, **more}
    body = json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")
    return Response(body, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def problem_of(error: BaseException, *, is_change: bool = False) -> Response:
    """The answer to an error. Only errors raised on purpose say what happened: others may quote secrets.

    `is_change`: something was to be changed, and an outage leaves open how far that came.
    """
    status = status_of(type(error))
    if not isinstance(error, errors.TekNavError):
        if status == 503:
            detail = f"Redis stopped answering. {_CUT_OFF}" if is_change else "Redis does not answer. Try again."
            return problem(503, "Unavailable", detail, headers=_retry())
        return problem(500, "Internal error", "Something went wrong here; the server's log says what.")
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).capitalize()
    fields = [{"field": field, "problem": text} for field, text in getattr(error, "fields", ()) or _named(error)]
    more: dict[str, Any] = {"errors": fields} if fields else {}
    headers = _retry(getattr(error, "wait_seconds", _RETRY_SECONDS)) if status in (429, 503) else None
    detail = f"{error}. {_CUT_OFF}" if is_change and type(error) is errors.StorageUnavailable else str(error)
    return problem(status, words, detail, headers=headers, **more)


def _named(error: errors.TekNavError) -> list[tuple[str, str]]:
    """The field that a refused request is about: its message begins with the field's name."""
    found = _FIELD.fullmatch(str(error)) if status_of(type(error)) == 422 else None
    return [(found[1], found[2])] if found else []


def _retry(seconds: int = _RETRY_SECONDS) -> dict[str, str]:
    return {"Retry-After": str(seconds)}


def install_problems(app: FastAPI) -> None:
    """Answer every error of the app as a problem."""
    app.add_exception_handler(errors.TekNavError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    for outage in OUTAGE_ERRORS:
        app.add_exception_handler(outage, _on_error)
    app.add_exception_handler(UnicodeEncodeError, _on_broken_text)
    app.add_exception_handler(Exception, _on_fault)


async def _on_error(request: Request, error: Exception) -> Response:
    answer = problem_of(error, is_change=request.method not in SAFE_METHODS)
    identity = getattr(request.state, "identity", None)
    if isinstance(error, errors.NotAllowed) and identity is not None:
        note, url = request.app.state.services.entrance.refusals.note, request.url
        await run_sync(lambda: note(identity, error, method=request.method, path=url.path))
    if answer.status_code >= 500:
        log.error("request.failed", path=request.url.path, error=f"{type(error).__name__}: {error}")
    return answer


async def _on_fault(request: Request, error: Exception) -> Response:
    log.error("request.broken", path=request.url.path, exc_info=error)
    return problem_of(error)


async def _on_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # Without the input itself, which may hold a secret.
    found = [{"field": ".".join(map(str, item["loc"])), "problem": item["msg"]} for item in error.errors()]
    detail = "; ".join(f"{item['field']}: {item['problem']}" for item in found)
    return problem(422, "Invalid request", detail, errors=found)


async def _on_broken_text(_: Request, __: Exception) -> Response:
    # JSON may spell half a character, which can be stored nowhere. It is met before anything is written.
    return problem(422, "Invalid request", "body: holds half a character (a lone surrogate such as \\ud800)")


async def _on_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 400 and isinstance(error.__cause__, RecursionError | ValueError):
        # FastAPI could not read the body as JSON, and does not say why.
        found = {"field": "body", "problem": plain.json_problem(error.__cause__)}
        return problem(422, "Invalid request", f"body: {found['problem']}", errors=[found])
    title = HTTPStatus(error.status_code).phrase
    detail = str(error.detail) if error.detail != title else ""
    return problem(error.status_code, title, detail, headers=error.headers)


_MEANING: Final = {
    401: "Not signed in.",
    403: "The role or the token's scopes do not allow this.",
    404: "There is no such queue, job or record.",
    409: "The state does not allow this; nothing was changed.",
    413: "The body or the payload is too large.",
    422: "The request is wrong; `errors` names the fields.",
    429: "The token has used its quota; nothing was made. Try again after `Retry-After` seconds.",
    503: "Redis or the database does not answer. `detail` says whether nothing was done, or how far is not known.",
}


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems that an operation may answer, for its OpenAPI entry; 401, 403, 422 and 503 go without saying."""
    return {
        status: {"description": _MEANING[status], "content": {MEDIA_TYPE: {"schema": _SCHEMA}}}
        for status in sorted({401, 403, 422, 503, *statuses})
    }


_SCHEMA: Final = {"$ref": "#/components/schemas/Problem"}
