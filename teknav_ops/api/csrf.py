"""CSRF: a browser's changes must carry the token that only our own pages know."""

from __future__ import annotations

import hmac
from typing import Final
from urllib.parse import parse_qs

from starlette.types import Message, Receive

from teknav_ops.api.visit import Visit

HEADER: Final = "x-csrf-token"
FIELD: Final = "csrf_token"


async def has_token(visit: Visit, receive: Receive) -> tuple[bool, Receive]:
    """Whether a request carries its session's token, in a header or in a form; and how its body is read from now on."""
    wanted = visit.identity.csrf_token if visit.identity else None
    given = visit.headers.get(HEADER)
    if given is None and visit.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        body, receive = await _read(receive)
        values = parse_qs(body.decode("utf-8", "replace")).get(FIELD)
        given = values[0] if values else None
    is_right = bool(wanted) and given is not None and hmac.compare_digest(given.encode(), str(wanted).encode())
    return is_right, receive


async def _read(receive: Receive) -> tuple[bytes, Receive]:
    """The whole body (its size is limited further out), and a receive that gives it once more."""
    chunks, is_more = [], True
    while is_more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        chunks.append(message.get("body", b""))
        is_more = message.get("more_body", False)
    body = b"".join(chunks)
    is_given = False

    async def again() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return body, again
