"""Dead letters over REST: grouped, paged, replayed, deleted, purged and exported."""

from __future__ import annotations

import csv
import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from teknav_ops.redis_state import scripts
from tests.support.dead_letters import ERROR_TYPES, error_type_of, letter_cursor, make_dead_letters
from tests.support.scale import scaled
from tests.support.state import KEYS, QUEUE, State
from tests.support.web import Web, every_page

LETTERS = f"/api/owner/queues/{QUEUE}/dead-letters"


@pytest.fixture
def letter_count(state: State) -> int:
    """Dead letters of four types and fifty causes; number n failed at n seconds."""
    make_dead_letters(state.client, QUEUE, 1_200, job="work")
    return 1_200


def test_letters_have_the_names_that_the_platform_fixes(owner: httpx.Client, state: State) -> None:
    job_id = state.dead()

    letter = owner.get(f"{LETTERS}/{job_id}").json()

    assert set(letter) == {
        "originalQueue", "originalJobId", "jobName", "errorType", "error", "stack", "fingerprint", "attemptsMade",
        "failedAt", "payload", "traceId",
    }  # fmt: skip


def test_pages_in_both_orders_have_no_seam(owner: httpx.Client, letter_count: int) -> None:
    for sort, expected in (("-failed_at", range(letter_count - 1, -1, -1)), ("failed_at", range(letter_count))):
        found = []
        for page in every_page(owner, LETTERS, sort=sort, limit=500):
            found += [letter["originalJobId"] for letter in page["items"]]
        assert found == [f"dead-{number:07}" for number in expected]


def test_who_asks_at_the_same_time_gets_what_their_role_may_see(
    site: Web, tokens: dict[str, str], state: State
) -> None:
    state.dead(payload='{"number": 424242}')

    def errors(role: str) -> tuple[str, list[str]]:
        with site.with_token(tokens[role]) as client:
            return role, [str(client.get(LETTERS).json()["items"][0]["payload"]) for _ in range(30)]

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(errors, ["owner", "viewer"] * 4))

    for role, payloads in found:
        assert all(("424242" in payload) is (role == "owner") for payload in payloads)


def test_what_was_just_changed_is_in_the_next_answer_however_many_ask(
    site: Web, tokens: dict[str, str], state: State, owner: httpx.Client
) -> None:
    over = threading.Event()

    def keep_asking() -> None:
        with site.with_token(tokens["owner"]) as client:
            while not over.is_set():
                client.get(LETTERS)

    threads = [threading.Thread(target=keep_asking) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for count in range(1, 40):
            state.dead()
            assert owner.get(LETTERS).json()["total_count"] == count
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_filters_are_applied_on_the_server(owner: httpx.Client, letter_count: int) -> None:
    kind = ERROR_TYPES[1]
    expected = [number for number in range(letter_count) if error_type_of(number) == kind]

    by_type = owner.get(LETTERS, params={"error_type": kind, "limit": 1_000}).json()
    both = owner.get(LETTERS, params={"error_type": kind, "fingerprint": "f02", "limit": 1_000}).json()
    text = owner.get(LETTERS, params={"text": "NUMBER 777"}).json()
    span = {"since": "2025-11-24T16:00:00Z", "until": "2025-11-24T16:01:00Z"}
    minute = owner.get(LETTERS, params=span | {"limit": "100"}).json()

    assert by_type["total_count"] == len(expected) == len(by_type["items"])
    assert len(both["items"]) == len([number for number in expected if number % 50 == 2])
    assert [letter["originalJobId"] for letter in text["items"]] == ["dead-0000777"]
    assert minute["total_count"] == len(minute["items"]) == 60


def test_groups_add_up_and_are_sorted_as_asked(owner: httpx.Client, letter_count: int) -> None:
    groups = owner.get(f"{LETTERS}/groups").json()
    latest = owner.get(f"{LETTERS}/groups", params={"sort": "-last_failed_at", "limit": 3}).json()
    of_type = owner.get(f"{LETTERS}/groups", params={"error_type": ERROR_TYPES[0]}).json()

    assert groups["total_count"] == letter_count
    counts = [group["count"] for group in groups["items"]]
    assert counts == sorted(counts, reverse=True)
    assert [group["last_failed_at"] for group in latest["items"]] == sorted(
        (group["last_failed_at"] for group in groups["items"]), reverse=True
    )[:3]
    assert {group["error_type"] for group in of_type["items"]} == {ERROR_TYPES[0]}
    assert groups["next_cursor"] is None and groups["cause_count"] == len(groups["items"])
    paged = [group for page in every_page(owner, f"{LETTERS}/groups", limit=7) for group in page["items"]]
    assert paged == groups["items"]


def test_a_letter_is_replayed_once_however_often_it_is_clicked(owner: httpx.Client, state: State) -> None:
    job_id = state.dead()

    answers = [owner.post(f"{LETTERS}/{job_id}/replay") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 409, 409]
    assert state.places(job_id) == ["waiting"]


def test_an_edited_payload_is_validated_and_the_original_kept_in_the_audit(owner: httpx.Client, state: State) -> None:
    job_id = state.dead()

    refused = owner.post(f"{LETTERS}/{job_id}/replay", json={"payload": {"number": "x"}})
    done = owner.post(f"{LETTERS}/{job_id}/replay", json={"payload": {"number": 2}})

    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "number")
    assert done.json()["job"]["payload"] == {"number": 2}
    assert '{"number": 1}' in state.client.xrevrange(KEYS.audit, count=1)[0][1]["detail"]


def test_deleting_is_once_and_purging_needs_the_name(owner: httpx.Client, state: State) -> None:
    first = state.dead()
    for _ in range(3):
        state.dead()

    statuses = [owner.delete(f"{LETTERS}/{first}").status_code for _ in range(2)]
    mistaken = [owner.delete(LETTERS).status_code, owner.delete(LETTERS, params={"confirm": "yes"}).status_code]
    assert state.client.zcard(KEYS.dlq) == 3
    purged = owner.delete(LETTERS, params={"confirm": QUEUE}).json()

    assert statuses == [204, 404]
    assert mistaken == [422, 422]
    assert purged == {"deleted_count": 3}


def test_a_json_export_holds_all_that_match(owner: httpx.Client, letter_count: int) -> None:
    answer = owner.get(f"{LETTERS}/export", params={"error_type": ERROR_TYPES[0]})

    assert answer.headers["content-disposition"] == 'attachment; filename="dead-letters-test-work.json"'
    assert len(answer.json()) == sum(error_type_of(number) == ERROR_TYPES[0] for number in range(letter_count))


def test_an_export_holds_what_is_replayed_or_fails_again_behind_it(owner: httpx.Client, state: State) -> None:
    make_dead_letters(state.client, QUEUE, 1_500)
    ids: list[str] = []

    with owner.stream("GET", f"{LETTERS}/export") as answer:
        for line in answer.iter_lines():
            if line.startswith("{"):
                ids.append(json.loads(line.rstrip(","))["originalJobId"])
            if len(ids) == 1:
                gone = [(f"dead-{number:07}", None) for number in range(300)]
                state.run(scripts.replay_dead_letters(KEYS, actor="a", failures=gone))
                state.client.zadd(KEYS.dlq, {"dead-0001400": 1_900_000_000_000})

    assert len(set(ids)) == 1_500


def test_a_csv_export_cannot_run_formulas(owner: httpx.Client, state: State) -> None:
    starts = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "ordinary", "سلام، «دنیا»", 'a "quoted", b')
    for number, error in enumerate(starts):
        make_dead_letters(state.client, QUEUE, 1)
        state.client.hset(KEYS.dlq_record("dead-0000000"), mapping={"error": error, "jobName": error})
        text = owner.get(f"{LETTERS}/export", params={"format": "csv"}).content.decode("utf-8-sig")
        (row,) = csv.DictReader(io.StringIO(text, newline=""))
        expected = error if number > 6 else "'" + error
        assert row["error"] == row["jobName"] == expected


def test_an_empty_export_is_an_empty_list(owner: httpx.Client) -> None:
    assert owner.get(f"{LETTERS}/export").json() == []
    assert owner.get(f"{LETTERS}/export", params={"format": "csv"}).text.count("\r\n") == 1


def test_a_viewer_reads_causes_and_no_words(viewer: httpx.Client, state: State) -> None:
    job_id = state.dead(payload='{"number": 1, "note": "private words"}')

    for path in ("", "/groups", f"/{job_id}", "/export", "/export?format=csv"):
        answer = viewer.get(LETTERS + path)
        assert answer.status_code == 200
        assert "private words" not in answer.text and "broken" not in answer.text and "Traceback" not in answer.text
        assert "ValueError" in answer.text
    assert viewer.get(LETTERS, params={"text": "private"}).status_code == 403
    assert viewer.get(f"{LETTERS}/export", params={"text": "private"}).status_code == 403


def test_many_letters_page_and_a_search_goes_on_to_the_end(owner: httpx.Client, state: State) -> None:
    count = scaled(20_000)
    make_dead_letters(state.client, QUEUE, count)

    middle = owner.get(LETTERS, params={"cursor": letter_cursor(count // 2)}).json()
    assert middle["total_count"] == count
    assert middle["items"][0]["originalJobId"] == f"dead-{count // 2 - 1:07}"
    found = []
    for page in every_page(owner, LETTERS, text="number 4242", limit=1_000):
        found += [letter["originalJobId"] for letter in page["items"]]

    holding = [number for number in range(count) if f"number {number}".startswith("number 4242")]
    assert sorted(found) == [f"dead-{number:07}" for number in holding]
