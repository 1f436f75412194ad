"""Who may not read payloads learns nothing of them: not from what is shown, nor from what can be searched for."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import Iterator
from typing import Final

import httpx
import pytest

from dashboards.page import Page
from dashboards.pages import PAGES
from dashboards.reads import SharedReads
from dashboards.sources import Sources
from dashboards.visit import Visit
from teknav_ops.access.identity import Identity
from teknav_ops.audit.trail import AuditFilter, AuditTrail
from teknav_ops.errors import TekNavError
from tests.entrances.callers import Caller, Callers
from tests.entrances.prepared import QUEUE, WORDS, PreparedData
from tests.support.entry_points import EntryPoint
from tests.support.web import Web

# Panel's and Bokeh's own, towards tornado; the app runs in this process.
pytestmark = pytest.mark.filterwarnings("ignore:.*HTTPServerRequest:DeprecationWarning")
#: What the planted words have in common, for filters that look for a part; and one that stands as it is in a field.
#: Each beside a text of the same shape that is nowhere in the data: whoever may not read must see no difference.
PROBES: Final = (("zebra-", "quagg-"), ("zebra-key-dead-1", "quagg-key-dead-1"))
#: What pages share is read once for all of them here.
READS: Final = SharedReads()
#: Who may look, but not into payloads.
MASKED: Final = (
    "viewer",
    "operator",
    "operator of the queues",
    "token of other queues",
    "token of a viewer",
    "token act",
    "token enqueue",
    "token metrics",
)


def found_in(text: str) -> set[str]:
    """Which of the planted words a text holds."""
    return {place for place, word in WORDS.items() if word in text}


# What routes show ----------------------------------------------------------------------------------


def reads(entry_points: list[EntryPoint]) -> list[EntryPoint]:
    return [entry for entry in entry_points if entry.method == "GET" and not entry.is_stream]


def read(client: httpx.Client, caller: Caller, entry: EntryPoint, **query: str) -> httpx.Response:
    client.cookies.clear()
    required = {name: "dead-1" for name, is_required in entry.query if is_required}
    return client.get(entry.path, params=required | query, headers=dict(caller.headers))


def variants(entry: EntryPoint) -> Iterator[dict[str, str]]:
    """The query parameters that choose among a few, each of its values once."""
    yield {}
    for name, values in entry.choices.items():
        for value in values:
            yield {name: value}


@pytest.mark.parametrize("name", MASKED)
def test_no_route_shows_what_is_in_a_payload(
    client: httpx.Client, callers: Callers, entry_points: list[EntryPoint], prepared: PreparedData, name: str
) -> None:
    leaks = [
        (entry.path, query, found)
        for entry in reads(entry_points) if not entry.is_page
        for query in variants(entry)
        if (found := found_in(read(client, callers[name], entry, **query).text))
    ]  # fmt: skip

    assert leaks == []


def test_the_owner_is_shown_each_planted_word(
    client: httpx.Client, callers: Callers, entry_points: list[EntryPoint], prepared: PreparedData
) -> None:
    """Else the test above would show nothing."""
    found = set[str]()
    for entry in reads(entry_points):
        if not entry.is_page:
            for query in variants(entry):
                found |= found_in(read(client, callers["owner"], entry, **query).text)

    assert found == set(WORDS) - {"delivery"}


def test_no_query_of_a_route_tells_what_is_in_a_payload(
    client: httpx.Client, callers: Callers, entry_points: list[EntryPoint], prepared: PreparedData
) -> None:
    viewer, tells = callers["viewer"], []
    for entry in reads(entry_points):
        if not entry.path.startswith("/api/owner"):
            continue
        for name, query in itertools.product(entry.texts, variants(entry)):
            for hit, miss in PROBES:
                found = read(client, viewer, entry, **query, **{name: hit})
                nothing = read(client, viewer, entry, **query, **{name: miss})
                if (found.status_code, shape(found.text)) != (nothing.status_code, shape(nothing.text)):
                    tells.append((entry.path, query, name, hit))

    assert tells == []


def shape(text: str) -> str:
    """An answer without its echo of the question, and without numbers: ages grow between two answers."""
    for hit, miss in PROBES:
        text = text.replace(hit, "…").replace(miss, "…")
    return re.sub(r"\d+(\.\d+)?", "0", text)


def test_a_replay_of_what_holds_a_text_needs_the_right_to_read_payloads(
    client: httpx.Client, callers: Callers, prepared: PreparedData
) -> None:
    """How many jobs it would take tells whether the text is in them."""
    body = {"limit": 5, "filters": {"text": WORDS["payload"]}}
    prepared.forget_refusals()
    statuses = {
        name: client.post(
            f"/api/owner/queues/{QUEUE}/replays", json=body, headers=dict(callers[name].headers)
        ).status_code
        for name in ("token act", "token read, act and enqueue")
    }
    prepared.reset()

    assert statuses == {"token act": 403, "token read, act and enqueue": 201}
    (entry, *_) = AuditTrail(prepared.services.database).page(AuditFilter(action="user.refused")).items
    assert entry.detail is not None and entry.detail["operation"] == "read-payloads"
    assert entry.detail["path"] == f"/api/owner/queues/{QUEUE}/replays"


# What pages show -----------------------------------------------------------------------------------


class SpiedVisit(Visit):
    """Notes which filters a page asks for, and between what it lets choose."""

    __slots__ = ("choices", "filters")

    def filter(self, name: str) -> str | None:
        self.filters.add(name)
        return super().filter(name)

    def choice(self, name: str, options: tuple[str, ...]) -> str:
        self.choices[name] = options
        return super().choice(name, options)


def page_of(web: Web, kind: type[Page], identity: Identity, query: dict[str, str]) -> tuple[Page, SpiedVisit]:
    route = {"queue": QUEUE, "job_id": "dead-1", "name": "MailRefused"}
    visit = SpiedVisit(Sources(web.services), identity, READS, route, query)
    visit.filters, visit.choices = set(), {}
    return kind(visit), visit


def loaded(web: Web, kind: type[Page], identity: Identity, query: dict[str, str]) -> str:
    """What the page would send to the browser."""
    page, _ = page_of(web, kind, identity, query)
    try:
        return json.dumps(page.load(), default=str, ensure_ascii=False)
    except TekNavError as error:
        return f"{type(error).__name__}: {error}"


def page_variants(web: Web, kind: type[Page], identity: Identity) -> tuple[list[dict[str, str]], set[str]]:
    """A query for each value of each choice that the page offers, and all filters that it asked for on the way."""
    queries: list[dict[str, str]] = [{}]
    filters, chosen = set[str](), set[str]()
    for query in queries:
        page, visit = page_of(web, kind, identity, query)
        with contextlib.suppress(TekNavError):
            page.load()
        filters |= visit.filters
        for name in visit.choices.keys() - chosen:
            queries += [{name: value} for value in visit.choices[name]]
        chosen |= visit.choices.keys()
    return queries, filters


@pytest.mark.parametrize("kind", PAGES)
def test_no_page_shows_or_tells_what_is_in_a_payload(
    web: Web, callers: Callers, prepared: PreparedData, kind: type[Page]
) -> None:
    identity = callers["viewer"].identity
    assert identity is not None
    queries, filters = page_variants(web, kind, identity)
    shows = [(query, found) for query in queries if (found := found_in(loaded(web, kind, identity, query)))]
    tells = [
        (query, name, hit)
        for query, name, (hit, miss) in itertools.product(queries, filters, PROBES)
        if shape(loaded(web, kind, identity, query | {name: hit}))
        != shape(loaded(web, kind, identity, query | {name: miss}))
    ]

    assert (shows, tells) == ([], [])


def test_the_owner_s_pages_show_and_find_each_planted_word(web: Web, callers: Callers, prepared: PreparedData) -> None:
    identity = callers["owner"].identity
    assert identity is not None
    shown = {
        place for kind in PAGES for query in page_variants(web, kind, identity)[0]
        for place in found_in(loaded(web, kind, identity, query))
    }  # fmt: skip

    assert shown >= set(WORDS) - {"result", "stack"}
