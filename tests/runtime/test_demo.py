"""The demo: orders that fit, shapes that are what they say, and receivers with moods."""

from __future__ import annotations

import itertools
import random
import smtplib
import sys
from collections.abc import Iterator
from pathlib import Path

import httpcore2
import pytest

from teknav_ops.payloads.codec import validate
from teknav_ops.producer import Producer
from teknav_ops.reports.schedules import schedules_of
from teknav_ops.runtime.demo.content import MOODS, DemoContent
from teknav_ops.runtime.demo.load import run_load
from teknav_ops.runtime.demo.orders import FAULTY, ORDINARY, Order, Orders, enqueue_first
from teknav_ops.runtime.demo.settings import demo_settings
from teknav_ops.runtime.demo.shapes import Shape, pulses
from teknav_ops.sample_content.readers import sample_events
from teknav_ops.settings import Settings
from teknav_ops.topology import TOPOLOGY
from tests.support import warm_python
from tests.support.ports import free_port
from tests.support.waiting import ANSWER_SECONDS, until

CONTENT = DemoContent(
    [1, 2, 3], [4, 5], {mood: number for number, mood in enumerate([*MOODS, "blocked"], 1)}, [6, 7], "http://127.0.0.1:1"
)  # fmt: skip


@pytest.mark.parametrize("order", [*ORDINARY, *FAULTY], ids=lambda order: f"{order.queue} {order.job}")
def test_every_order_fits_its_payload(order: Order) -> None:
    chance = random.Random(1)
    for _ in range(20):
        queue = TOPOLOGY[order.queue]
        validate(queue.payload_of(order.job), order.make(CONTENT, chance), where=order.queue)


def test_every_queue_is_at_work_and_all_but_the_counting_ones_fail_now_and_then() -> None:
    assert {order.queue for order in ORDINARY} == set(TOPOLOGY)
    assert {order.queue for order in FAULTY} == set(TOPOLOGY) - {"analytics:process", "analytics:snapshot"}


def test_only_the_queues_that_are_asked_for_and_only_what_has_a_receiver() -> None:
    orders = Orders(CONTENT, random.Random(1), queues=frozenset({"email:send"}))
    assert {orders.pick(is_faulty=n % 2 == 0).queue for n in range(50)} == {"email:send"}
    bare = Orders(DemoContent([1], [1], {}), random.Random(1))
    assert not any(bare.pick(is_faulty=n % 2 == 0).needs_receiver for n in range(200))


def test_shapes_have_their_rate_and_their_shape() -> None:
    for shape in Shape:
        some = list(itertools.islice(pulses(shape, 10), 1 if shape is Shape.BURST else 2_000))
        some += list(itertools.islice(pulses(shape, 10), 1, 40)) if shape is Shape.BURST else []
        jobs, seconds = sum(p.job_count for p in some[1:]), sum(p.wait_seconds for p in some[1:])
        assert jobs / seconds == pytest.approx(10, rel=0.01)
    storm = list(itertools.islice(pulses(Shape.STORM, 10), 400))
    assert [p.is_one_cause for p in storm] == [True] * 200 + [False] * 200
    assert storm[0].faulty_share > 0.5 > storm[300].faulty_share
    assert next(pulses(Shape.BURST, 10)).job_count == 150


def test_a_load_ends_when_its_time_is_up_or_when_it_is_told(producer: Producer) -> None:
    real = Producer(producer._runner.client, cipher=producer._cipher)
    orders = Orders(CONTENT, random.Random(3))
    counts = run_load(
        real, orders, Shape.STEADY, rate_per_second=200, seconds=0.2, wait=lambda s: False, chance=random.Random(3)
    )
    assert counts.total() > 0
    stopped = run_load(
        real, orders, Shape.STEADY, rate_per_second=1, seconds=99, wait=lambda s: True, chance=random.Random(3)
    )
    assert stopped.total() == 0


def test_the_first_jobs_are_made_once(producer: Producer) -> None:
    real = Producer(producer._runner.client, cipher=producer._cipher)
    assert enqueue_first(real, CONTENT) == 2 + 3 * 3
    assert enqueue_first(real, CONTENT) == 0


def test_readers_make_events_of_every_kind_with_some_late_and_some_broken() -> None:
    events = sample_events([1, 2, 3], 2_000, random.Random(7))
    assert {event["kind"] for event in events} == {"page_view", "read", "share", "search", "search_click"}
    assert 20 < sum(event["occurred_at"] == "just now" for event in events) < 100
    assert len({event["event_id"] for event in events}) == 2_000


def settings_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environment: dict[str, str]) -> Settings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Settings(data_dir=tmp_path)


def test_the_demo_has_a_mail_server_and_a_report_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = demo_settings(Settings(data_dir=tmp_path), 2525)
    settings = settings_with(monkeypatch, tmp_path, told)

    assert settings.smtp_url is not None
    assert settings.smtp_url.get_secret_value() == "smtp+plain://127.0.0.1:2525"
    (schedule,) = schedules_of(settings)
    assert (schedule.name, schedule.deliver.mail) == ("queue_health", ("sre@teknav.example",))
    # What is set stays as it is.
    assert demo_settings(settings, 9) == {}


def test_the_demos_report_is_mailed_to_no_real_mail_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = settings_with(monkeypatch, tmp_path, {"TEKNAV_SMTP_URL": "smtp://mail.example"})
    assert set(demo_settings(settings, 2525)) == {"TEKNAV_OUTBOUND_ALLOWED_NETWORKS"}


def test_the_demo_has_no_report_where_the_notebook_is_not(tmp_path: Path) -> None:
    assert "TEKNAV_REPORT_SCHEDULES" not in demo_settings(Settings(data_dir=tmp_path, notebooks_dir=tmp_path), 2525)


@pytest.fixture
def receivers(tmp_path: Path) -> Iterator[tuple[int, int]]:
    ports = (free_port(), free_port())
    command = [sys.executable, "-m", "teknav_ops.runtime.demo.receivers", *map(str, ports), str(tmp_path / "outbox")]
    process = warm_python.Process(command)

    def answers() -> bool:
        try:
            smtplib.SMTP("127.0.0.1", ports[0], timeout=1).close()
            return post(ports[1], "ok", "probe") == 200
        except (OSError, httpcore2.ConnectError):
            return False

    until(answers)
    yield ports
    process.kill()
    process.wait()


def post(port: int, mood: str, webhook_id: str) -> int:
    with httpcore2.ConnectionPool() as pool:
        url = f"http://127.0.0.1:{port}/hooks/{mood}"
        return pool.request("POST", url, headers={"webhook-id": webhook_id}, content=b"{}").status


def test_receivers_have_the_moods_of_their_addresses(receivers: tuple[int, int], tmp_path: Path) -> None:
    smtp_port, http_port = receivers
    seen = {mood: [post(http_port, mood, "e1"), post(http_port, mood, "e1")] for mood in MOODS if mood != "slow"}
    assert seen == {
        "ok": [200, 200], "moody": [500, 200], "busy": [429, 200], "broken": [500, 500], "refusing": [400, 400],
    }  # fmt: skip

    with smtplib.SMTP("127.0.0.1", smtp_port, timeout=ANSWER_SECONDS) as server:
        server.ehlo()
        assert server.mail("a@example.com")[0] == 250
        codes = [server.rcpt(f"{name}@example.com")[0] for name in ("nobody7", "greylisted7", "greylisted7", "reader")]
        assert codes == [550, 451, 250, 250]
        assert server.data(b"Subject: x\r\n\r\nhello")[0] == 250
    (mail,) = (tmp_path / "outbox").glob("*.eml")
    assert b"hello" in mail.read_bytes()
