"""Lists and pages: every filter against a count by hand, page by page, and what is damaged left out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import redis

from teknav_ops.errors import InvalidRequest, UnknownJob, UnknownQueue
from teknav_ops.jobs.dead_letter_queries import DeadLetterFilter, DeadLetterQueries
from teknav_ops.jobs.paging import Page, Window, fill_page
from teknav_ops.jobs.queries import JobFilter, JobQueries
from teknav_ops.jobs.states import JobState
from teknav_ops.jobs.worker_queries import WorkerQueries
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.scripts import ListedEntry, ListedPart, NewJob
from tests.support.state import KEYS, QUEUE, State, run_of
from tests.support.topology import TOPOLOGY


def pages(read: Callable[[str | None], Page[Any]]) -> Iterator[Page[Any]]:
    """A list's pages to its end, each after the one before."""
    page = read(None)
    yield page
    while page.next_cursor is not None:
        page = read(page.next_cursor)
        yield page


@pytest.fixture
def state(client: redis.Redis) -> State:
    return State(client)


#: The keys of `letters` as the scripts wrote them for the first test: name, time to live (ms) and value.
_kept: list[tuple[bytes, int, bytes]] = []


@pytest.fixture
def letters(state: State) -> list[dict[str, str]]:
    """1,200 dead letters of three types and four causes; number n failed at n seconds."""
    if not _kept:
        _write_letters(state)
        _kept.extend(_dumped(state.client))
    else:
        pipeline = state.client.pipeline(transaction=False)
        for name, life_ms, value in _kept:
            pipeline.restore(name, life_ms, value)
        pipeline.execute()
    return [_letter(n) for n in range(1_200)]


def _letter(n: int) -> dict[str, str]:
    return {"id": f"{n:04}", "kind": f"E{n % 3}", "mark": f"f{n % 4}", "name": "work" if n % 2 else "rest"}


def _write_letters(state: State) -> None:
    jobs = [NewJob(id=f"{n:04}", name=_letter(n)["name"], payload=json.dumps({"n": n})) for n in range(1_200)]
    for first in range(0, 1_200, 400):
        state.run(scripts.enqueue(KEYS, idempotency_ms=1, actor="t", jobs=jobs[first : first + 400]))
        times = state.client.pipeline(transaction=False)
        for delivery in state.fetch(400):
            n = int(delivery.id)
            kind, mark = _letter(n)["kind"], _letter(n)["mark"]
            failure = scripts.Failure(kind, f"error number-{n}", "Traceback\n" * 50, mark, "{}")
            state.run(scripts.dead_letter(KEYS, worker="w", run=run_of(delivery), failure=failure, failed_kept=5_000))
            for index in (KEYS.dlq, KEYS.dlq_type(kind), KEYS.dlq_fingerprint(mark)):
                times.zadd(index, {delivery.id: n * 1_000})
        times.execute()


def _dumped(client: redis.Redis) -> list[tuple[bytes, int, bytes]]:
    names = client.keys()
    pipeline = client.pipeline(transaction=False)
    for name in names:
        pipeline.pttl(name).dump(name)
    answers = pipeline.execute()
    found = zip(names, answers[::2], answers[1::2], strict=True)
    return [(name, max(0, life_ms), value) for name, life_ms, value in found if value is not None]


@pytest.mark.parametrize(
    "chosen",
    [{}, {"error_type": "E1"}, {"fingerprint": "f2"}, {"error_type": "E1", "fingerprint": "f2"}, {"job_name": "work"},
     {"text": "NUMBER-11"}, {"error_type": "E0", "job_name": "rest", "text": "6"}],
)  # fmt: skip
def test_every_filter_finds_what_counting_by_hand_finds_page_by_page(
    dead_letters: DeadLetterQueries, letters: list[dict[str, str]], chosen: dict[str, str]
) -> None:
    expected = [
        letter["id"] for letter in reversed(letters)
        if letter["kind"] == chosen.get("error_type", letter["kind"])
        and letter["mark"] == chosen.get("fingerprint", letter["mark"])
        and letter["name"] == chosen.get("job_name", letter["name"])
        and chosen.get("text", "").casefold() in f"error number-{int(letter['id'])} {letter['id']}"
    ]  # fmt: skip
    where = DeadLetterFilter(**chosen)  # type: ignore[arg-type]

    found: list[str] = []
    cursor = None
    while True:
        page = dead_letters.page(QUEUE, where=where, cursor=cursor, limit=70, looking_seconds=30)
        assert page.matching_count in (None, len(expected))
        found += [letter.original_job_id for letter in page.items]
        if page.next_cursor is None:
            break
        cursor = page.next_cursor

    assert found == expected
    # An index has counted its own; a page that holds all has counted whatever was asked.
    assert dead_letters.page(QUEUE, where=where, limit=1_000, looking_seconds=30).is_counted or len(expected) > 1_000
    assert page.is_counted is ((len(chosen) < 2 and not {"job_name", "text"} & chosen.keys()) or len(expected) <= 70)
    frozen, count = dead_letters.failures(QUEUE, where, limit=10_000)
    assert [failure.job_id for failure in frozen] == expected[::-1] and count == len(expected)
    assert dead_letters.failures(QUEUE, where, limit=30) == (frozen[:30], count)


def test_looking_ends_in_time_and_says_how_far_it_came(
    dead_letters: DeadLetterQueries, letters: list[dict[str, str]]
) -> None:
    where = DeadLetterFilter(text="number-7 ")

    short = dead_letters.page(QUEUE, where=where, looking_seconds=0)

    assert (short.items, short.looked_at_count, short.total_count) == ([], 250, 1_200)
    assert short.next_cursor == "950000_0950"
    assert not short.is_counted and short.matching_count is None


def test_all_are_counted_where_the_time_is_up_after_the_last_was_looked_at(
    dead_letters: DeadLetterQueries, letters: list[dict[str, str]]
) -> None:
    where = DeadLetterFilter(text="number-7 ")

    last = dead_letters.page(QUEUE, where=where, cursor="200000_0200", looking_seconds=0)
    first_200 = DeadLetterFilter(text="number-7 ", window=Window(until=datetime.fromtimestamp(200, UTC)))
    whole = dead_letters.page(QUEUE, where=first_200, looking_seconds=0)

    assert last.next_cursor is None
    assert whole.next_cursor is None and whole.is_counted


def test_looking_ends_in_time_though_more_come_than_were_counted() -> None:
    parts = (ListedPart(number + 2, number, [ListedEntry(f"job-{number}", "1", {})]) for number in range(9))

    page = fill_page(
        parts,
        lambda row: False,
        lambda ids: [None for _ in ids],
        after=None,
        limit=5,
        is_settled=False,
        looking_seconds=0,
    )

    assert (page.items, page.next_cursor, page.is_counted) == ([], "1_job-0", False)


@pytest.mark.parametrize("newest_first", [True, False])
def test_pages_within_a_window_have_no_seam(
    dead_letters: DeadLetterQueries, letters: list[dict[str, str]], newest_first: bool
) -> None:
    window = Window(datetime.fromtimestamp(300, UTC), datetime.fromtimestamp(900, UTC))

    found = []
    for page in pages(
        lambda cursor: dead_letters.page(
            QUEUE, where=DeadLetterFilter(window=window), cursor=cursor, limit=70, newest_first=newest_first
        )
    ):
        found += [letter.original_job_id for letter in page.items]

    assert found == [f"{n:04}" for n in range(300, 900)][:: -1 if newest_first else 1]


def test_a_window_of_time_and_a_limit_bound_the_list(
    dead_letters: DeadLetterQueries, letters: list[dict[str, str]]
) -> None:
    window = Window(datetime.fromtimestamp(100, UTC), datetime.fromtimestamp(110, UTC))

    page = dead_letters.page(QUEUE, where=DeadLetterFilter(window=window))

    assert [letter.original_job_id for letter in page.items] == [f"{n:04}" for n in range(109, 99, -1)]
    assert (page.total_count, page.is_counted) == (10, True)
    assert len(dead_letters.failures(QUEUE, DeadLetterFilter(), limit=7)[0]) == 7


def test_groups_say_how_many_since_when_and_what(
    dead_letters: DeadLetterQueries, letters: list[dict[str, str]]
) -> None:
    groups = dead_letters.groups(QUEUE).items

    assert sum(group.count for group in groups) == 1_200 and len(groups) == 12
    first = next(group for group in groups if (group.error_type, group.fingerprint) == ("E0", "f0"))
    assert first.count == 100
    assert first.first_failed_at == datetime.fromtimestamp(0, UTC)
    assert first.example_error.startswith("error number-")


def test_of_many_causes_only_the_most_frequent_are_looked_up(
    dead_letters: DeadLetterQueries, letters: list[dict[str, str]], client: redis.Redis
) -> None:
    client.hincrby(KEYS.dlq_groups, "E1|f3", 5)
    client.config_resetstat()

    causes = dead_letters.causes(QUEUE, limit=3)

    assert client.info("commandstats")["cmdstat_zrange"]["calls"] == 2 * 3
    assert len(causes.groups) == 3 and causes.groups[0].fingerprint == "f3" and causes.count == 12
    assert sum(causes.letters_by_type.values()) == 1_205 and set(causes.letters_by_type) == {"E0", "E1", "E2"}


@pytest.mark.parametrize("sort", ["-count", "count", "-last_failed_at", "last_failed_at", "-first_failed_at"])
def test_causes_are_listed_a_page_at_a_time(
    dead_letters: DeadLetterQueries, letters: list[dict[str, str]], client: redis.Redis, sort: str
) -> None:
    client.hincrby(KEYS.dlq_groups, "E1|f3", 5)

    found = []
    for page in pages(lambda cursor: dead_letters.groups(QUEUE, sort=sort, cursor=cursor, limit=5)):
        assert page.total_count == 12
        found += page.items

    assert len({(group.error_type, group.fingerprint) for group in found}) == len(found) == 12
    values = [getattr(group, sort.removeprefix("-")) for group in found]
    assert values == sorted(values, reverse=sort.startswith("-"))
    of_type = dead_letters.groups(QUEUE, sort=sort, error_type="E1")
    assert {group.error_type for group in of_type.items} == {"E1"} and of_type.total_count == len(of_type.items)


def test_of_a_page_of_causes_only_those_are_looked_up(
    dead_letters: DeadLetterQueries, letters: list[dict[str, str]], client: redis.Redis
) -> None:
    first = dead_letters.groups(QUEUE, limit=3)
    client.config_resetstat()

    dead_letters.groups(QUEUE, limit=3, cursor=first.next_cursor)

    assert client.info("commandstats")["cmdstat_zrange"]["calls"] == 2 * 3
    for wrong in ({"sort": "-error"}, {"cursor": "x"}, {"limit": 0}, {"error_type": "\0"}):
        with pytest.raises(InvalidRequest, match=f"{next(iter(wrong))}: "):
            dead_letters.groups(QUEUE, **wrong)


def test_a_letter_that_goes_while_it_is_listed_is_left_out(dead_letters: DeadLetterQueries, state: State) -> None:
    kept, gone = state.dead(), state.dead()
    state.client.delete(KEYS.dlq_record(gone))

    assert [letter.original_job_id for letter in dead_letters.page(QUEUE).items] == [kept]


def test_a_run_under_way_began_when_it_was_handed_out_not_when_the_one_before_did(
    client: redis.Redis, queries: JobQueries, state: State
) -> None:
    job_id = state.enqueue()
    delivery = state.fetch(1)[0]
    client.hset(KEYS.job(job_id), mapping={"started_at_ms": 1_000, "fetched_at_ms": 721_000})
    client.zadd(KEYS.workers, {"w:1": 1_000})

    (held,) = WorkerQueries(client, TOPOLOGY).all()[0].running  # type: ignore[arg-type]

    assert held.started_at == queries.get(QUEUE, job_id).started_at == datetime.fromtimestamp(721, UTC)
    state.complete(delivery)
    assert queries.get(QUEUE, job_id).started_at != datetime.fromtimestamp(721, UTC)


def test_jobs_are_listed_in_the_order_they_will_run_and_filtered(queries: JobQueries, state: State) -> None:
    ordinary = [state.enqueue(payload=json.dumps({"n": n}), trace_id="a" * 32 if n % 5 == 0 else "") for n in range(60)]
    urgent = state.enqueue(priority=-1, name="rest")

    def ids(where: JobFilter | None = None, **page: Any) -> list[str]:
        return [job.id for job in queries.page(QUEUE, JobState.WAITING, where=where, **page).items]

    assert ids(limit=100) == [urgent, *ordinary]
    first = queries.page(QUEUE, JobState.WAITING, limit=1)
    assert ids(cursor=first.next_cursor, limit=10) == ordinary[:10]
    assert ids(JobFilter(name="rest")) == [urgent]
    assert ids(JobFilter(trace_id="a" * 32)) == ordinary[::5]
    assert ids(JobFilter(text="59")) == [ordinary[59]]


def test_ended_jobs_are_counted_within_a_window(queries: JobQueries, state: State) -> None:
    for _ in range(3):
        state.enqueue()
        (delivery,) = state.fetch()
        state.complete(delivery)
        state.client.zadd(KEYS.completed, {delivery.id: 100_000 * (state.client.zcard(KEYS.completed))})
    window = Window(datetime.fromtimestamp(150, UTC))

    page = queries.page(QUEUE, JobState.COMPLETED, where=JobFilter(window=window), limit=1)
    assert (len(page.items), page.matching_count) == (1, 2)
    named = queries.page(QUEUE, JobState.COMPLETED, where=JobFilter(name="work"), limit=1)
    assert (named.total_count, named.matching_count) == (3, None)
    none = queries.page(QUEUE, JobState.COMPLETED, where=JobFilter(name="rest"))
    assert (none.items, none.matching_count) == ([], 0)


def test_a_damaged_record_is_one_row_that_says_so(queries: JobQueries, state: State) -> None:
    good, bad, wrong = state.enqueue(), state.enqueue(), state.enqueue()
    state.client.hset(KEYS.job(bad), "payload", "{")
    state.client.delete(KEYS.job(wrong))
    state.client.set(KEYS.job(wrong), "x")

    shown = queries.page(QUEUE, JobState.WAITING).items
    assert [job.id for job in shown] == [good, bad, wrong]
    assert (shown[1].payload, shown[1].error_type) == ("{", None)
    assert (shown[2].name, shown[2].error_type, shown[2].state) == ("unreadable", "CorruptRecord", JobState.WAITING)
    places = [(QUEUE, job_id) for job_id in (good, bad, wrong, "ghost")]
    assert [job.id for job in queries.many(places)] == [good, bad, wrong] and queries.many([]) == []
    assert queries.find(good).queue == QUEUE
    assert queries.find(wrong).error_type == "CorruptRecord"


def test_what_is_asked_wrongly_is_refused(queries: JobQueries, dead_letters: DeadLetterQueries) -> None:
    for limit in (0, 1_001):
        with pytest.raises(InvalidRequest, match="limit"):
            queries.page(QUEUE, JobState.FAILED, limit=limit)
    for cursor in ("", "0", "_x", "nan_x", "1_", "50", "-5", "1e99999_x", "1_" + "x" * 201, "۱_x"):
        with pytest.raises(InvalidRequest, match=r"cursor: .*next_cursor of the page before"):
            queries.page(QUEUE, JobState.FAILED, cursor=cursor)
    with pytest.raises(InvalidRequest, match="since/until"):
        queries.page(QUEUE, JobState.WAITING, where=JobFilter(window=Window(datetime.now(UTC))))
    for field, named in (("name", "name"), ("trace_id", "trace"), ("text", "text")):
        with pytest.raises(InvalidRequest, match=f"^{named}: "):
            queries.page(QUEUE, JobState.WAITING, where=JobFilter(**{field: "a\ud800"}))
    with pytest.raises(UnknownQueue):
        queries.counts("no:such")
    with pytest.raises(UnknownJob):
        queries.find("ghost")
    with pytest.raises(UnknownJob):
        dead_letters.get(QUEUE, "ghost")


@pytest.mark.parametrize("limit", [1, 2, 3, 50])
def test_waiting_jobs_are_listed_as_they_will_run(queries: JobQueries, state: State, limit: int) -> None:
    ids = [state.enqueue(priority=priority) for priority in (9, 0, -9, 1, 0, -1, 0)]
    held = [(delivery.id, delivery.delivery) for delivery in state.fetch(4)]
    state.run(scripts.release(KEYS, held=held))
    wanted = [ids[2], ids[5], ids[1], ids[4], ids[6], ids[3], ids[0]]

    listed = []
    for page in pages(lambda cursor: queries.page(QUEUE, JobState.WAITING, cursor=cursor, limit=limit)):
        listed += [job.id for job in page.items]
        assert page.total_count == len(ids)

    assert listed == wanted == [delivery.id for delivery in state.fetch(7)]


def failed_at(state: State, job_id: str, second: int) -> None:
    """Say when a job failed."""
    for index in (KEYS.failed, KEYS.dlq, KEYS.dlq_type("ValueError"), KEYS.dlq_fingerprint("abc123")):
        state.client.zadd(index, {job_id: second * 1_000})


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("where", [DeadLetterFilter(), DeadLetterFilter(job_name="work")])
def test_what_goes_while_a_list_is_read_hides_nothing_of_the_rest(
    dead_letters: DeadLetterQueries, state: State, newest_first: bool, where: DeadLetterFilter
) -> None:
    # Four at each moment, so that the place is often within one.
    ids = [state.dead() for _ in range(24)]
    for number, job_id in enumerate(ids):
        failed_at(state, job_id, number // 4)

    seen: list[str] = []
    for page in pages(
        lambda cursor: dead_letters.page(QUEUE, where=where, cursor=cursor, limit=5, newest_first=newest_first)
    ):
        seen += [letter.original_job_id for letter in page.items]
        gone = [(job_id, None) for job_id in seen[-5:-1]]
        state.run(scripts.replay_dead_letters(KEYS, actor="a", failures=gone))

    assert sorted(seen) == sorted(ids)


def test_what_fails_again_while_it_is_read_oldest_first_is_met_again(
    dead_letters: DeadLetterQueries, state: State
) -> None:
    ids = [state.dead() for _ in range(6)]
    for number, job_id in enumerate(ids):
        failed_at(state, job_id, number)

    first = dead_letters.page(QUEUE, limit=2, newest_first=False)
    failed_at(state, ids[4], 9)
    rest = dead_letters.page(QUEUE, cursor=first.next_cursor, newest_first=False)

    seen = [letter.original_job_id for letter in first.items + rest.items]
    assert seen == [*ids[:4], ids[5], ids[4]]


def test_waiting_jobs_that_are_taken_while_the_list_is_read_hide_nothing(queries: JobQueries, state: State) -> None:
    ids = [state.enqueue(priority=number % 3 - 1) for number in range(30)]
    held = [(delivery.id, delivery.delivery) for delivery in state.fetch(4)]
    state.run(scripts.release(KEYS, held=held))

    seen, taken = [], []
    for page in pages(lambda cursor: queries.page(QUEUE, JobState.WAITING, cursor=cursor, limit=4)):
        seen += [job.id for job in page.items]
        taken += [delivery.id for delivery in state.fetch(3)]

    assert sorted(seen) == sorted(ids) and taken == seen[: len(taken)]


@pytest.mark.parametrize("by", ["due_at", "finished_at"])
def test_jobs_are_sorted_by_key_both_ways_without_a_seam(queries: JobQueries, state: State, by: str) -> None:
    ids = [state.enqueue(id=f"{n:02}", delay_ms=60_000) for n in range(9)]
    kind = JobState.DELAYED if by == "due_at" else JobState.CANCELLED
    for number, job_id in enumerate(ids):
        if kind is JobState.CANCELLED:
            state.run(scripts.cancel(KEYS, job_id=job_id, actor="o", cancelled_kept=100))
        # Some at the same moment.
        state.client.zadd(KEYS.delayed if by == "due_at" else KEYS.cancelled, {job_id: 10**12 + number // 2})

    def listed(sort: str | None) -> list[str]:
        read = pages(lambda cursor: queries.page(QUEUE, kind, sort=sort, cursor=cursor, limit=2))
        return [job.id for page in read for job in page.items]

    assert (listed(by), listed(f"-{by}")) == (ids, ids[::-1])
    assert listed(None) == (ids if by == "due_at" else ids[::-1])


@pytest.mark.parametrize(
    ("kind", "sort", "words"),
    [
        (JobState.WAITING, "finished_at", "waiting jobs have one order"),
        (JobState.ACTIVE, "-due_at", "active jobs have"),
        (JobState.DELAYED, "finished_at", "due_at is first to last"), (JobState.FAILED, "attempts", "not 'attempts'"),
        (JobState.FAILED, "--finished_at", "-finished_at last to first"),
    ],
)  # fmt: skip
def test_an_order_that_no_key_gives_is_refused(queries: JobQueries, kind: JobState, sort: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match=f"sort: .*{words}"):
        queries.page(QUEUE, kind, sort=sort)


def test_a_run_is_told_beside_how_it_ended_and_not_of_a_job_that_waits_anew(state: State, queries: JobQueries) -> None:
    job = state.dead()
    told = []
    for act in ("replay", "fetch", "postpone", "cancel"):
        if act == "replay":
            state.run(scripts.replay_dead_letters(KEYS, actor="sara", failures=[(job, None)]))
        elif act == "fetch":
            (delivery,) = state.fetch(1)
        elif act == "postpone":
            state.postpone(delivery)
        else:
            state.run(scripts.cancel(KEYS, job_id=job, actor="sara", cancelled_kept=10))
        record = queries.get(QUEUE, job)
        told.append([value is not None for value in (record.started_at, record.waited_ms, record.duration_ms)])
    assert told == [[False, False, False], [True, True, False], [True, True, True], [True, True, True]]
