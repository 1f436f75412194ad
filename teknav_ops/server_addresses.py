"""Addresses that the settings name: Redis, mail, databases, who sends and receives, each checked as it is used."""

from __future__ import annotations

import base64
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from teknav_ops.web_addresses import ascii_host

REDIS_SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel", "redis+cluster")
SMTP_SCHEMES: Final = ("smtp", "smtp+plain", "smtps")
_DATABASES: Final = ("sqlite", "sqlite+pysqlite", "postgresql+psycopg")
#: Options of a Redis URL that are texts; others are read by redis-py.
_TEXTS: Final = frozenset(
    {"client_name", "encoding", "encoding_errors", "lib_name", "lib_version", "username", "password"}
)
#: No server's socket lies there.
_NOWHERE: Final = "/nonexistent/teknav"
_LARGEST_PORT: Final = 65_535
_LOCAL_LIMIT_CHARACTERS: Final = 64
#: A word that no line of a mail holds cannot be folded.
_NAME_LIMIT_CHARACTERS: Final = 200
#: RFC 5321 allows 254.
_LONGEST_ADDRESS: Final = 254


def require_server(url: str, schemes: tuple[str, ...]) -> None:
    """Raises ValueError for the URL of a server that has another scheme, no host, or a port that cannot be."""
    parts = urlsplit(url)
    if parts.scheme not in schemes:
        raise ValueError(f"scheme must be one of {', '.join(schemes)}")
    place = parts.path if parts.scheme == "unix" else parts.netloc.rpartition("@")[2]
    if not place or ("+" not in parts.scheme and parts.scheme != "unix" and not parts.hostname):
        raise ValueError("must name a host (or, for unix, a path)")
    if parts.scheme != "unix":
        for one in place.split(","):
            found = urlsplit(f"//{one}")
            _ = ascii_host(found.hostname or ""), found.port


def require_redis(url: str) -> None:
    """Raises ValueError for what is no Redis of one of our three forms."""
    from redis.connection import ConnectionPool

    require_server(url, REDIS_SCHEMES)
    parts = urlsplit(url)
    database = parts.path.strip("/")
    if "+" in parts.scheme and (parts.query or parts.fragment):
        raise ValueError("Sentinels and Clusters take no options behind a ? or #")
    if parts.scheme == "redis+sentinel":
        service, _, database = database.partition("/")
        if not service:
            raise ValueError("must name what the Sentinels watch: redis+sentinel://host:26379,host:26379/service")
    elif parts.scheme == "redis+cluster":
        if database:
            raise ValueError("a Cluster has no databases to choose from; leave the path out")
    else:
        pool: Any = ConnectionPool
        _require_options(parts.query)
        try:
            # Without a name of the library, whose version would be looked up.
            pool.from_url(url, driver_info=None).make_connection()
        except TypeError as error:
            raise ValueError(f"has an option that there is not: {error}") from None
        except ValueError:
            raise
        except Exception as error:
            # What redis-py makes of a value that it cannot use has many kinds.
            raise ValueError(f"has an option with a value that cannot be: {error}") from None
        database = "" if parts.scheme == "unix" else database
    # redis-py takes what is no number for database 0.
    if database and not (database.isascii() and database.isdecimal()):
        raise ValueError("the path must be the number of a database, such as redis://host:6379/0")


def _require_options(query: str) -> None:
    """A URL gives text: for what redis-py wants an object for, or does not know, it is accepted and fails in use."""
    from redis.connection import URL_QUERY_ARGUMENT_PARSERS

    for name in parse_qs(query, keep_blank_values=True):
        if name not in URL_QUERY_ARGUMENT_PARSERS and name not in _TEXTS and not name.startswith("ssl_"):
            raise ValueError(f"has an option that there is not, or that no URL can give: {name}")


def require_smtp(url: str) -> None:
    """Raises ValueError for what is no mail server."""
    require_server(url, SMTP_SCHEMES)
    parts = urlsplit(url)
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("must end behind the host and its port")


def require_database(url: str) -> None:
    """Raises ValueError for a database that we cannot use."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parts = make_url(url)
    except (ArgumentError, ValueError):
        parts = None
    if parts is None or parts.drivername not in _DATABASES:
        raise ValueError(
            "must be a SQLAlchemy URL: sqlite:////path, or postgresql+psycopg://user:password@host:port/name"
        )
    require_port(parts.port)
    if parts.query:
        (_require_sqlite_options if parts.drivername.startswith("sqlite") else _require_postgres_options)(parts)


def _require_sqlite_options(parts: Any) -> None:
    import sqlite3
    import warnings

    from sqlalchemy.exc import SAWarning

    try:
        with warnings.catch_warnings():
            # SQLAlchemy warns of what it leaves out.
            warnings.simplefilter("error", SAWarning)
            _, options = parts.get_dialect()().create_connect_args(parts)
        sqlite3.connect(":memory:", **options).close()
    except (TypeError, ValueError, SAWarning, sqlite3.Error) as error:
        names = ", ".join(parts.query)
        raise ValueError(f"has an option that there is not, or one with a wrong value ({names}): {error}") from None


def _require_postgres_options(parts: Any) -> None:
    """As libpq reads them, for a server that is not there."""
    import psycopg
    from psycopg.conninfo import make_conninfo, timeout_from_conninfo

    options = {name: value for name, value in parts.query.items() if name not in ("host", "port")}
    try:
        timeout_from_conninfo(options)
        text = make_conninfo("", **{**options, "host": _NOWHERE})
    except psycopg.Error as error:
        raise ValueError(f"has an option that there is not, or one with a wrong value: {error}") from None
    connection = psycopg.pq.PGconn.connect_start(text.encode())
    said = connection.error_message.decode(errors="replace").strip()
    connection.finish()
    if _NOWHERE not in said:
        raise ValueError(f"has an option with a value that cannot be: {said}")


def require_port(port: int | str | None) -> None:
    """Raises ValueError for a port that there cannot be."""
    text = "" if port is None else str(port)
    if text and not (text.isascii() and text.isdecimal() and int(text) <= _LARGEST_PORT):
        raise ValueError(f"Port out of range 0-{_LARGEST_PORT}")


def require_sender(sender: str) -> None:
    """Raises ValueError for what no mail can have as its sender: one address, with a name before it or without."""
    from email.headerregistry import Address
    from email.utils import getaddresses

    try:
        ((name, address),) = getaddresses([sender])
        local, _, domain = address.rpartition("@")
        # The parser leaves out blanks of an address, and so sends from another than the one that is written.
        is_usable = address in sender
        is_usable = (
            is_usable
            and address.isascii()
            and bool(Address(name, addr_spec=address).domain)
            and bool(ascii_host(domain))
        )
        is_usable = is_usable and len(local) <= _LOCAL_LIMIT_CHARACTERS and len(name) <= _NAME_LIMIT_CHARACTERS
    except Exception:
        # The parser has errors of many kinds for what it cannot read.
        is_usable = False
    if not is_usable:
        raise ValueError('must be one ASCII address, such as "TekNav, Inc" <noreply@example.com>')


def receiver_of_mails(address: str) -> str:
    """The address as a mail server takes it, in ASCII. Raises ValueError for what is none."""
    from email_validator import EmailNotValidError, validate_email

    try:
        checked = validate_email(address, check_deliverability=False, allow_smtputf8=False)
    except EmailNotValidError as error:
        raise ValueError(f"{address[:_LONGEST_ADDRESS]!r}: {error}") from None
    return checked.ascii_email or checked.normalized


def require_signing_secret(secret: str) -> None:
    """Raises ValueError for what is no secret of Standard Webhooks.

    Its library would drop what is not base64, and sign with the rest.
    """
    text = secret.removeprefix("whsec_")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        key = b""
    if not key:
        raise ValueError("must be base64 after `whsec_`; `openssl rand -base64 32` makes one")
