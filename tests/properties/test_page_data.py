"""Whatever a browser sends to a page is done, or refused with words: never "something broke"."""

from __future__ import annotations

import inspect
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bokeh.document import Document
from hypothesis import given
from hypothesis import strategies as st

from dashboards.open_page import OpenPage
from dashboards.pages import PAGES
from dashboards.reads import SharedReads
from dashboards.sources import Sources
from dashboards.visit import Visit
from teknav_ops.access.identity import Identity
from teknav_ops.access.policy import Operator, Role
from tests.properties.payloads import examples
from tests.support import strategies as odd
from tests.support.entry_points import page_actions
from tests.support.web import Web

OWNER = Identity(Operator("sara", Role.OWNER), via="session")
ROUTE = {"queue": "search:index", "job_id": "x", "name": "InvalidPayload"}
#: What JSON from a browser can be: Python reads NaN and half characters in it.
SENT = odd.texts | odd.odd_numbers | odd.plain_values | odd.large_values.filter(lambda value: len(repr(value)) < 60)
#: Filters of all pages.
FILTERS = ("type", "fingerprint", "name", "text", "since", "until", "page", "order", "tab", "state", "trace", "range",
           "queue", "actor", "job", "error_type", "cursor", "kind", "sort")  # fmt: skip


def opened(site: Web, page: Any, query: dict[str, str]) -> OpenPage:
    visit = Visit(Sources(site.services), OWNER, SharedReads(), dict(ROUTE), query)
    return OpenPage(
        page(visit), Document(), ThreadPoolExecutor(1), current_identity=lambda: OWNER, note_use=lambda: None
    )


@st.composite
def calls(draw: Any) -> tuple[Any, dict[str, Any]]:
    """An action, and arguments of which some are what it expects."""
    action = draw(st.sampled_from(page_actions()))
    names = list(inspect.signature(getattr(action.page, action.name)).parameters)[1:]
    likely = {"queue": st.sampled_from(["search:index", "email:send"]), "job_id": st.just("x"), "name": st.just("n"),
              "job": st.sampled_from(["index-article", "send-email"]), "limit": st.integers(), "rate": st.floats(),
              "payload": odd.texts | st.dictionaries(odd.texts, odd.plain_values, max_size=2)}  # fmt: skip
    arguments = {name: draw(likely.get(name, SENT) | SENT) for name in names}
    if draw(st.integers(0, 9)) == 0:
        arguments[draw(odd.texts)] = 1
    return action, arguments


@examples(120)
@given(call=calls())
def test_any_argument_of_any_action_is_taken_or_refused_with_words(site: Web, call: Any) -> None:
    action, arguments = call
    answer = opened(site, action.page, {})._act(action.name, arguments)
    assert answer["ok"] or "broke" not in answer["text"]
    json.dumps(answer, allow_nan=False).encode()
    answer["text"].encode()


@examples(100)
@given(page=st.sampled_from(PAGES), query=st.dictionaries(st.sampled_from(FILTERS), odd.search_texts, max_size=3))
def test_any_filter_of_any_page_is_used_or_refused_with_words(site: Web, page: Any, query: dict[str, str]) -> None:
    slots = opened(site, page, query)._slots()
    assert "could not be loaded" not in (slots["problem"] or "")
    json.dumps(slots, allow_nan=False).encode()
