"""Jobs over REST: enqueued, listed, found, looked at and acted on."""

from __future__ import annotations

import json

import httpx
import pytest

from teknav_ops.audit.writer import AuditWriter
from teknav_ops.storage.tables import WebhookDeliveryLog
from tests.support.state import State
from tests.support.web import ROOT, Web, every_page

JOBS = "/api/owner/queues/test:work/jobs"


def enqueue(client: httpx.Client, key: str | None = None, **body: object) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.post(JOBS, json={"job": "work", "payload": {"number": 1}, **body}, headers=headers)


def test_an_accepted_job_can_be_fetched_where_its_location_says(owner: httpx.Client) -> None:
    answer = enqueue(owner, delay_seconds=60, priority=-3, trace_id="a" * 32)

    assert answer.status_code == 201 and answer.json()["is_new"]
    job = owner.get(answer.headers["location"]).json()
    assert (job["state"], job["priority"], job["trace_id"]) == ("delayed", -3, "a" * 32)
    assert job["payload"] == {"number": 1}


def test_a_used_idempotency_key_answers_with_its_first_job(owner: httpx.Client) -> None:
    first, again, other = enqueue(owner, "k1"), enqueue(owner, "k1"), enqueue(owner, "k2")

    assert [answer.status_code for answer in (first, again, other)] == [201, 200, 201]
    assert again.json() == {**first.json(), "is_new": False}
    assert owner.get(JOBS).json()["total_count"] == 2


def test_a_key_in_other_letters_is_the_key_that_other_producers_use(owner: httpx.Client, site: Web) -> None:
    key = "مقاله-7 é"
    accepted = site.services.producer(ROOT).enqueue("test:work", "work", {"number": 1}, idempotency_key=key)
    body = {"job": "work", "payload": {"number": 1}}

    again = owner.post(JOBS, json=body, headers={"Idempotency-Key": key.encode()})
    assert (again.status_code, again.json()["job_id"]) == (200, accepted.job_id)
    refused = owner.post(JOBS, json=body, headers={"Idempotency-Key": "é".encode("latin-1")})
    assert refused.status_code == 422 and "idempotency_key: is not UTF-8" in refused.text


@pytest.mark.parametrize(
    ("body", "field"), [({"payload": {"number": 2}}, "payload.number"), ({"job": "poison", "payload": {}}, "job")]
)
def test_another_request_with_a_used_key_is_a_conflict_that_names_the_field(
    owner: httpx.Client, body: dict[str, object], field: str
) -> None:
    first = enqueue(owner, "k1").json()["job_id"]

    answer = enqueue(owner, "k1", **body)

    assert answer.status_code == 409 and answer.json()["type"] == "urn:teknav:problem:idempotency-conflict"
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert first in answer.json()["detail"] and field in answer.json()["detail"]
    assert [job["id"] for job in owner.get(JOBS).json()["items"]] == [first]


def test_a_cancelled_jobs_key_is_free(owner: httpx.Client) -> None:
    first = enqueue(owner, "k1")
    assert owner.post(f"{first.headers['location']}/cancel").is_success

    assert enqueue(owner, "k1", payload={"number": 2}).status_code == 201


def test_secrets_are_sealed_and_never_shown(owner: httpx.Client, state: State) -> None:
    answer = owner.post(JOBS, json={"job": "confide", "payload": {"secret": "hunter2", "note": "n"}})

    job = owner.get(answer.headers["location"])
    assert job.json()["payload"] == {"secret": "••••", "note": "n"}
    assert "hunter2" not in state.job(answer.json()["job_id"])["payload"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"payload": {"number": "x"}}, 422, "number"),
        ({"payload": {}}, 422, "number"),
        ({"job": "dance"}, 422, "it carries confide, poison, work"),
        ({"priority": 10}, 422, "priority"),
        ({"priority": True}, 422, "priority"),
        ({"delay_seconds": True}, 422, "delay_seconds"),
        ({"trace_id": "0" * 32}, 422, "trace_id"),
        ({"delay_seconds": -1}, 422, "delay_seconds"),
        ({"trace_id": "x"}, 422, "trace_id"),
        ({"payload": []}, 422, "payload"),
        ({"surprise": 1}, 422, "surprise"),
    ],
)
def test_a_wrong_job_names_the_field_and_writes_nothing(
    owner: httpx.Client, body: dict[str, object], status: int, words: str
) -> None:
    answer = enqueue(owner, **body)

    assert answer.status_code == status
    assert words in answer.json()["detail"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert owner.get(JOBS).json()["total_count"] == 0


def test_an_invalid_payload_is_not_quoted_back(owner: httpx.Client) -> None:
    answer = owner.post(JOBS, json={"job": "confide", "payload": {"secret": {"deep": "hunter2"}}})

    assert answer.status_code == 422 and "hunter2" not in answer.text
    assert answer.json()["errors"][0]["field"] == "secret"


def test_a_payload_over_the_limit_is_refused(owner: httpx.Client) -> None:
    # Two fields of 140,000 characters each: each may be so long, but not both.
    long = owner.post(JOBS, json={"job": "confide", "payload": {"secret": "s" * 140_000, "note": "x" * 140_000}})
    endless = owner.post(JOBS, json={"job": "confide", "payload": {"secret": "s", "note": "x" * 3_000_000}})

    assert (long.status_code, long.json()["type"]) == (413, "urn:teknav:problem:payload-too-large")
    assert endless.status_code == 413


def test_a_program_that_may_only_enqueue_reads_nothing(producer_client: httpx.Client) -> None:
    assert enqueue(producer_client).status_code == 201
    assert producer_client.get(JOBS).status_code == 403
    assert producer_client.put("/api/owner/queues/test:work/pause").status_code == 403


def test_jobs_are_paged_and_filtered_on_the_server(owner: httpx.Client, state: State) -> None:
    for number in range(25):
        state.enqueue(payload=json.dumps({"number": number}), name="work" if number % 2 else "poison")

    found = []
    for page in every_page(owner, JOBS, limit=10):
        found += [job["payload"]["number"] for job in page["items"]]
    named = owner.get(JOBS, params={"name": "work"}).json()["items"]
    texts = owner.get(JOBS, params={"text": "۱۷"}).json()["items"]

    assert found == list(range(25))
    assert {job["name"] for job in named} == {"work"} and len(named) == 12
    assert [job["payload"]["number"] for job in texts] == [17]


@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({"limit": 0}, "limit"), ({"limit": 1_001}, "limit"), ({"cursor": "-1"}, "cursor"),
        ({"state": "lost"}, "state"),
        ({"since": "yesterday"}, "since"), ({"since": "2026-01-01T00:00:00Z"}, "since/until"),
        ({"state": "failed", "since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, "until"),
    ],
)  # fmt: skip
def test_a_page_that_cannot_be_names_what_is_wrong(owner: httpx.Client, params: dict[str, str], word: str) -> None:
    answer = owner.get(JOBS, params=params)

    assert answer.status_code == 422 and word in answer.json()["detail"]


def test_actions_move_jobs_and_say_so(owner: httpx.Client, state: State) -> None:
    delayed, waiting, failed = state.enqueue(delay_ms=60_000), state.enqueue(priority=9), state.dead()

    answers = [
        owner.post(f"{JOBS}/{delayed}/promote"),
        owner.post(f"{JOBS}/{waiting}/cancel"),
        owner.post(f"{JOBS}/{failed}/retry"),
    ]

    assert [(answer.json()["action"], answer.json()["job"]["state"]) for answer in answers] == [
        ("promoted", "waiting"), ("cancelled", "cancelled"), ("retried", "waiting"),
    ]  # fmt: skip


def test_a_job_that_has_ended_is_run_again_once_however_often_it_is_sent(owner: httpx.Client, state: State) -> None:
    done = state.enqueue()
    early = owner.post(f"{JOBS}/{done}/run-again")
    state.complete(*state.fetch())

    first, again = (owner.post(f"{JOBS}/{done}/run-again") for _ in range(2))

    assert (early.status_code, first.status_code, again.status_code) == (409, 201, 200)
    assert first.json()["job"] | {"run_again_of": done, "state": "waiting"} == again.json()["job"]
    assert first.json()["job"]["id"] != done
    assert owner.post(f"{JOBS}/none/run-again").status_code == 404


def test_the_twentieth_click_does_nothing_twice(owner: httpx.Client, state: State) -> None:
    failed = state.dead()

    statuses = [owner.post(f"{JOBS}/{failed}/retry").status_code for _ in range(20)]

    assert statuses == [200] + [409] * 19
    assert state.job(failed)["replays"] == "1"


def test_a_retry_with_another_payload_is_validated_first(owner: httpx.Client, state: State) -> None:
    failed = state.dead()

    wrong = owner.post(f"{JOBS}/{failed}/retry", json={"payload": {"number": "x"}})
    right = owner.post(f"{JOBS}/{failed}/retry", json={"payload": {"number": 5}})

    assert wrong.status_code == 422
    assert right.json()["job"]["payload"] == {"number": 5}


def test_a_story_has_what_is_in_sql_and_what_is_not_yet(
    owner: httpx.Client, state: State, move_audit: AuditWriter
) -> None:
    job_id = state.enqueue()
    move_audit.drain()
    (delivery,) = state.fetch()
    state.complete(delivery)

    entries = owner.get(f"{JOBS}/{job_id}/timeline").json()["entries"]

    assert [(entry["action"], entry["is_on_record"]) for entry in entries] == [
        ("job.enqueued", True), ("job.completed", False),
    ]  # fmt: skip


def test_an_export_holds_job_letter_and_story(owner: httpx.Client, state: State) -> None:
    job_id = state.dead()

    answer = owner.get(f"{JOBS}/{job_id}/export")

    assert answer.headers["content-disposition"] == f'attachment; filename="job-{job_id}.json"'
    export = answer.json()
    assert export["job"]["id"] == export["dead_letter"]["originalJobId"] == job_id
    assert [entry["action"] for entry in export["timeline"]] == ["job.enqueued", "job.failed", "dlq.added"]


def test_an_export_holds_what_the_receiver_answered_each_time(
    owner: httpx.Client, viewer: httpx.Client, state: State, site: Web
) -> None:
    job_id = state.dead()
    said = {"job_id": job_id, "endpoint_id": 1, "event_id": "e", "event_type": "article.published"}
    with site.services.database.session() as session:
        for number, (status, answer) in enumerate(((503, "try later"), (422, '{"error": "no such field"}')), 1):
            session.add(
                WebhookDeliveryLog(
                    **said, delivery=number, attempt=number, outcome="failed", status_code=status, answer=answer
                )
            )

    told = owner.get(f"{JOBS}/{job_id}/export").json()["deliveries"]
    hidden = viewer.get(f"{JOBS}/{job_id}/export").json()["deliveries"]

    assert [(one["attempt"], one["status_code"], one["answer"]) for one in told] == [
        (2, 422, '{"error": "no such field"}'), (1, 503, "try later"),
    ]  # fmt: skip
    assert [one["status_code"] for one in hidden] == [422, 503] and "no such field" not in str(hidden)


def test_a_search_finds_by_id_by_trace_and_what_is_no_longer_kept(
    owner: httpx.Client, state: State, move_audit: AuditWriter, site: Web
) -> None:
    trace = "b" * 31 + "1"
    first, second = state.enqueue(trace_id=trace), state.enqueue(trace_id=trace)
    move_audit.drain()
    state.client.delete(*state.client.scan_iter(f"*job:{second}"))

    by_id = owner.get("/api/owner/search", params={"q": f" {first} "}).json()["items"]
    by_trace = owner.get("/api/owner/search", params={"q": trace.upper()}).json()["items"]
    gone = owner.get("/api/owner/search", params={"q": second}).json()["items"]

    assert [(hit["queue"], hit["job_id"], hit["state"]) for hit in by_id] == [("test:work", first, "waiting")]
    assert {(hit["job_id"], hit["state"]) for hit in by_trace} == {(first, "waiting"), (second, None)}
    assert [(hit["job_id"], hit["state"]) for hit in gone] == [(second, None)]
    assert owner.get(f"/api/owner/jobs/{first}").json()["id"] == first
    assert owner.get(f"/api/owner/jobs/{second}").status_code == 404


def test_a_viewer_sees_shapes_and_may_not_look_for_values(viewer: httpx.Client, state: State) -> None:
    job_id = state.dead(payload='{"number": 1, "note": "private words"}')

    job = viewer.get(f"{JOBS}/{job_id}")
    assert "private words" not in job.text and "broken" not in job.text
    assert set(job.json()["payload"]) == {"number", "note"}
    assert viewer.get(JOBS, params={"text": "private", "state": "failed"}).status_code == 403
    assert "private words" not in viewer.get(f"{JOBS}/{job_id}/export").text


def test_a_viewer_may_change_nothing(viewer: httpx.Client, state: State) -> None:
    failed = state.dead()

    for method, path in (
        ("POST", f"{JOBS}/{failed}/retry"), ("POST", JOBS), ("PUT", "/api/owner/queues/test:work/pause"),
        ("DELETE", f"/api/owner/queues/test:work/dead-letters/{failed}"),
    ):  # fmt: skip
        assert viewer.request(method, path, json={}).status_code == 403
    assert state.places(failed) == ["failed"]


def test_a_list_is_sorted_both_ways_where_its_state_has_such_an_order(owner: httpx.Client, state: State) -> None:
    ids = [state.enqueue(delay_ms=60_000 * (number + 1)) for number in range(3)]

    def listed(sort: str) -> list[str]:
        return [
            job["id"] for page in every_page(owner, JOBS, state="delayed", sort=sort, limit=2) for job in page["items"]
        ]

    assert (listed("due_at"), listed("-due_at")) == (ids, ids[::-1])
    for wrong in ({"state": "waiting", "sort": "due_at"}, {"state": "delayed", "sort": "finished_at"}, {"sort": "x"}):
        answer = owner.get(JOBS, params=wrong)
        assert answer.status_code == 422 and "sort" in answer.json()["detail"], wrong
