"""Fixtures that all tests share."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import structlog
from cryptography.fernet import Fernet

from teknav_ops.jobs.dead_letter_queries import DeadLetterQueries
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.payloads.codec import Cipher
from teknav_ops.producer import Producer
from teknav_ops.storage.database import Database
from tests.support.cheap_passwords import cheap_passwords
from tests.support.databases import fresh_url, migrated_url
from tests.support.engine import Engine
from tests.support.folders import new_folder, remove_folder
from tests.support.http_receiver import HttpReceiver
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer
from tests.support.smtp_receiver import SmtpReceiver
from tests.support.topology import TOPOLOGY
from tests.support.virtual_time import Clock, install

# Programs under test must not compile again at each start what they import.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Nor are the options of this run for those that tests start.
os.environ.pop("PYTEST_ADDOPTS", None)
sys.dont_write_bytecode = False

pytest_plugins = [
    "tests.plugins.leftovers",
    "tests.plugins.budget",
    "tests.plugins.collecting",
    "tests.plugins.order",
    "tests.plugins.printable",
]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As a shell starts what is to run in the background; the programs under test would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

SECRET_KEY = Fernet.generate_key().decode()


#: Databases of the shared server: more than one process has tests, so that what an earlier test left running never
#: reaches a later one. They cost nothing until they are used. `make soak` may come round to one, which is emptied then.
DATABASES = 16_384


@pytest.fixture(scope="session", autouse=True)
def _cheap_passwords() -> Iterator[None]:
    with cheap_passwords():
        yield


@pytest.fixture(scope="session")
def shared_server() -> Iterator[RedisServer]:
    """One server for all tests that do not kill it."""
    folder = new_folder()
    server = RedisServer(folder, "--appendonly", "no", "--databases", str(DATABASES)).start()
    yield server
    server.stop()
    remove_folder(folder)


@pytest.fixture
def redis_server(shared_server: RedisServer) -> RedisServer:
    """The shared server with a database of the test's own: what an earlier test left running cannot reach it."""
    shared_server.database = (shared_server.database + 1) % DATABASES
    with shared_server.client() as client:
        client.flushdb()
    return shared_server


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis_server.client() as connected:
        yield connected


@pytest.fixture
def clock(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time that the scripts of this process see; it stands still until the test moves it."""
    install(monkeypatch)
    return Clock(client)


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server of the test's own, with an append-only file, to be killed and started again."""
    folder = new_folder()
    server = RedisServer(folder, "--appendonly", "yes", "--appendfsync", "always").start()
    yield server
    server.stop()
    remove_folder(folder)


@pytest.fixture
def cipher() -> Cipher:
    return Cipher([SECRET_KEY])


@pytest.fixture
def producer(client: redis.Redis, cipher: Cipher) -> Producer:
    return Producer(client, cipher=cipher, topology=TOPOLOGY, timeout_seconds=2)


@pytest.fixture
def engine(redis_server: RedisServer, cipher: Cipher) -> Iterator[Engine]:
    built = Engine(redis_server.url, cipher)
    yield built
    built.close()


@pytest.fixture
def queries(client: redis.Redis) -> JobQueries:
    return JobQueries(client, TOPOLOGY)


@pytest.fixture
def dead_letters(client: redis.Redis) -> DeadLetterQueries:
    return DeadLetterQueries(client, TOPOLOGY)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test marked `each_database` runs on SQLite and on PostgreSQL, every other one on SQLite alone."""
    if metafunc.definition.get_closest_marker("each_database") is None:
        return
    urls = [name for name in ("empty_database_url", "database_url") if name in metafunc.fixturenames]
    assert urls, f"{metafunc.definition.nodeid} is marked each_database and uses none"
    for name in urls:
        metafunc.parametrize(name, ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without any table."""
    with fresh_url(getattr(request, "param", "sqlite"), tmp_path) as url:
        yield url


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A migrated database."""
    with migrated_url(getattr(request, "param", "sqlite"), tmp_path) as url:
        yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database, opened."""
    opened = Database.open(database_url)
    yield opened
    opened.dispose()


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL of the test's own, to be killed and started again."""
    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    """For tests that set up the logs of a process: this one's are put back."""
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    yield
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    """A web server that answers as it is told and keeps what it was sent."""
    with HttpReceiver() as started:
        yield started


@pytest.fixture
def inbox() -> Iterator[SmtpReceiver]:
    """A mail server that keeps what it was sent."""
    with SmtpReceiver() as started:
        yield started
