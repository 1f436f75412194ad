"""What leaves the system holds no secret and no reader's address: each road, and texts of every kind."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable
from contextlib import redirect_stderr
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import nbformat
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from plotly.offline import get_plotlyjs

from teknav_ops.alerts.channels import MailChannel
from teknav_ops.alerts.conditions import Condition
from teknav_ops.alerts.notices import AlertState, opened_notice, resolved_notice
from teknav_ops.logs import MaskedFormatter, configure_command_logs, configure_logs
from teknav_ops.payloads.redaction import error_text, leaving, redact
from teknav_ops.reports import child
from teknav_ops.reports.delivery import Courier
from teknav_ops.reports.masking import mask_output, masked_value
from teknav_ops.reports.runs import Order, RunMeta
from teknav_ops.reports.store import NOTEBOOK, ReportStore
from teknav_ops.reports.workroom import EXECUTED, TEMPORARY
from teknav_ops.settings import Settings
from teknav_ops.snapshots import feeds

TREE = Path(__file__).parent.parent
NOW = datetime(2026, 11, 1, tzinfo=UTC)
SECRET, MAIL, PHONE = "hunter2", "reader@example.com", "09123456789"
QUOTED = f'cannot open {{"password": "{SECRET}"}} for <{MAIL}> & 0912 345 6789'
DRAWN = "M 01 10 20 30 40 50"
SCRIPT = "<script>x('a'); // is a program, and stays\n</script>"
#: As JSON spells the digits of a Persian keyboard.
SPELLED = "u06f9"
TEXT = f"cannot open db password={SECRET} for {MAIL} ({PHONE})"


#: Where else a cell's output may say it.
OUTPUTS: dict[str, Any] = {
    "text/html": f"<i title='{TEXT}'>i</i><i title=\"{escape(QUOTED)}\"></i><script>x({json.dumps(TEXT)})</script>"
    f"<!--{TEXT}--><b data-password={SECRET}>b</b><a href=mailto:{MAIL}>a</a><a href='tel:{PHONE}'>a</a><{MAIL}>"
    f'<p title="{MAIL} > {PHONE}">p</p>password=<b>{SECRET}</b> reader@<wbr>example.com'
    f"<Sara {PHONE}><![CDATA[{PHONE}]]><script>x({json.dumps(f'رمز: {SECRET}x ۰۹۱۲۳۴۵۶۷۸۹')}, "
    f'"reader\\u0040example.com", "\\u003cb\\u003ePassword:\\u003c\\u002fb\\u003e {SECRET}x")</script>',
    "text/plain": f"\x1b[32m'password'\x1b[0m: \x1b[32m'{SECRET}'\x1b[0m",
    "text/markdown": f"**Password:** {SECRET}x, `token`: `{SECRET}x`",
    "text/latex": TEXT,
    "image/svg+xml": f"<svg><text>{TEXT}</text></svg>",
    "application/javascript": f"x({TEXT!r}, {{password: '{SECRET}'}}, `{MAIL}`)",
    "application/json": {
        "rows": [{"error": TEXT, MAIL: 1, "db_password": {"0": [SECRET]}, "html": f"<td>{escape(QUOTED)}</td>"}]
    },
    "application/vnd.plotly.v1+json": {"data": [{"text": [TEXT]}], "layout": {"title": {"text": TEXT}}},
    "application/vnd.dataresource+json": {"data": [{"error": TEXT}]},
}


def run_that_failed(folder: Path) -> tuple[Courier, RunMeta]:
    order = Order(
        name="weekly", run="20260101T000000Z-abc123", title="Weekly", notebook="weekly.ipynb", who="sara",
        parameters={}, started_at=NOW, cell_seconds=1, start_seconds=1,
    )  # fmt: skip
    settings = Settings(data_dir=folder)
    return Courier(settings, ReportStore(folder)), RunMeta.of(order).ended("failed", error=TEXT)


def report_mail(folder: Path) -> str:
    courier, meta = run_that_failed(folder)
    message = courier._compose("owner@example.org", meta, is_attached=False)
    return "".join(str(part.get_content()) for part in message.iter_parts())


def report_webhook(folder: Path) -> str:
    courier, meta = run_that_failed(folder)
    return json.dumps(courier._payload(meta))


def report_meta(folder: Path) -> str:
    return run_that_failed(folder)[1].model_dump_json()


def report_notebook(folder: Path) -> str:
    cell = nbformat.v4.new_code_cell("work()")
    cell.outputs = [
        *(nbformat.v4.new_output("stream", text=piece) for piece in (TEXT[:28], TEXT[28:40], TEXT[40:])),
        nbformat.v4.new_output("error", ename="E", evalue=TEXT, traceback=[f"\x1b[31mE\x1b[39m: {TEXT}\x1b[39m"]),
        nbformat.v4.new_output("execute_result", {"text/plain": TEXT, "text/markdown": f"**{TEXT}**"}),
        nbformat.v4.new_output("display_data", {"text/html": f'<td dir="auto">{escape(QUOTED)}</td>{SCRIPT}'}),
        *(nbformat.v4.new_output("display_data", {kind: value}) for kind, value in OUTPUTS.items()),
    ]
    widgets = {"state": {"a1": {"model_name": "HTMLModel", "state": {"value": f"<td>{escape(QUOTED)}</td>"}}}}
    metadata = {"widgets": {"application/vnd.jupyter.widget-state+json": widgets}}
    (folder / TEMPORARY).mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=metadata), folder / TEMPORARY / EXECUTED)
    child._read_masked(folder)
    return (folder / NOTEBOOK).read_text()


def test_a_report_s_html_stays_what_it_is_but_for_what_is_masked() -> None:
    html = f'<p title="1 < 2">a &amp; b &lt;i&gt;</p><td>{escape(QUOTED)}</td>{SCRIPT}<!-- x -->'
    masked = masked_value("text/html", html)
    assert masked == html.replace(escape(QUOTED), escape('cannot open {"password": "••••"} for <••••> & ••••'))


def test_a_picture_and_a_library_within_html_stay() -> None:
    library = get_plotlyjs()
    picture = '<img src="data:image/png;base64,iVBO/+123456789/Rw0KGgo">'
    html = f'{picture}<script>{library}</script><script>{library};x("{MAIL}")</script>'

    # Compared outside of the assertion: two texts of ten megabytes are not to be shown.
    is_same = masked_value("text/html", html) == html.replace(MAIL, "••••")

    assert is_same


def test_pictures_and_numbers_of_charts_stay() -> None:
    figure = {
        "data": [{"x": {"dtype": "f8", "bdata": "MDkxMjM0NTY3ODk="}, "y": [1, None, 2.5]}],
        "layout": {"title": "p95 of 2 < 3 & more", "shapes": [{"path": DRAWN}]},
    }
    kinds = {
        "image/png": "iVBORw0KGgo" * 9,
        "image/svg+xml": f'<svg viewBox="{DRAWN}"><path d="{DRAWN}" stroke-dasharray="{DRAWN}"/>'
        "<text>p95 <tspan>a</tspan></text></svg>",
        "application/vnd.plotly.v1+json": figure,
    }
    output = nbformat.v4.new_output("display_data", dict(kinds))

    mask_output(output)

    assert dict(output.data) == kinds


def failing_alert() -> AlertState:
    condition = Condition(
        rule="report-failed", kind="report_failed", severity="warning", queue="weekly", state="firing", value=1.0,
        limit=0.0, unit="runs", message=TEXT, for_seconds=0.0, clear_seconds=0.0,
    )  # fmt: skip
    return AlertState.of(condition, since_at=NOW, opened_at=NOW)


def alert_webhook(_: Path) -> str:
    state = failing_alert()
    opened = opened_notice([state], at=NOW, site_url=None)
    resolved = resolved_notice([state], [TEXT], at=NOW, site_url=None)
    return opened.model_dump_json() + opened.text + resolved.model_dump_json() + resolved.text


def alert_mail(_: Path) -> str:
    channel = MailChannel("owner@example.org", "ops@example.org", None)  # type: ignore[arg-type]
    return str(channel._compose(opened_notice([failing_alert()], at=NOW, site_url=None)).get_content())


def snapshot(_: Path) -> str:
    error = feeds._split("job.failed", json.dumps({"text": TEXT}))
    late = feeds._split("job.failed", json.dumps({"text": "x" * (feeds.ERROR_LENGTH - 9) + " " + MAIL}))
    assert "reader" not in late[0]
    return "".join((*error, *feeds._split("dlq.purged", json.dumps({"error": TEXT, "reason": TEXT, "text": TEXT}))))


#: Every road that texts leave by, and a text of its end.
ROADS: dict[str, Callable[[Path], str]] = {
    "report mail": report_mail,
    "report webhook": report_webhook,
    "report meta": report_meta,
    "report notebook and page": report_notebook,
    "alert webhook": alert_webhook,
    "alert mail": alert_mail,
    "snapshot": snapshot,
}


@pytest.mark.parametrize("road", ROADS)
def test_no_road_out_carries_a_secret_or_a_readers_address(road: str, tmp_path: Path) -> None:
    end = ROADS[road](tmp_path)

    assert "cannot open db" in end
    assert not [word for word in (SECRET, MAIL, PHONE, SPELLED) if word in end]


def test_no_module_sends_or_publishes_texts_that_is_not_on_a_road() -> None:
    senders = {
        str(path.relative_to(TREE))
        for path in (TREE / "teknav_ops").rglob("*.py")
        if "EmailMessage(" in path.read_text() or "SignedPost(" in path.read_text()
    }

    assert senders == {"teknav_ops/alerts/channels.py", "teknav_ops/reports/delivery.py"}


def structured_log() -> str:
    with redirect_stderr(io.StringIO()) as told:
        configure_logs(Settings())
        structlog.get_logger("x").warning("job.failed", error=TEXT)
        try:
            raise RuntimeError(TEXT)
        except RuntimeError:
            logging.getLogger("y").exception("it broke")
    return told.getvalue()


def command_log() -> str:
    with redirect_stderr(io.StringIO()) as told:
        configure_command_logs()
        try:
            raise RuntimeError(TEXT)
        except RuntimeError:
            structlog.get_logger("x").exception("it broke", error=TEXT)
    return told.getvalue()


def reports_log() -> str:
    record = logging.LogRecord("x", logging.ERROR, "", 0, "failed: %s", (TEXT,), None)
    return MaskedFormatter("%(message)s").format(record)


@pytest.mark.usefixtures("logging_as_it_was")
def test_a_log_line_that_is_read_on_a_terminal_commands_it_nothing() -> None:
    with redirect_stderr(io.StringIO()) as told:
        for configure in (lambda: configure_logs(Settings()), configure_command_logs):
            configure()
            try:
                raise RuntimeError("\x1b[2J\x9b31m")
            except RuntimeError as error:
                structlog.get_logger("x").exception("it_broke", error=str(error))
    assert not {"\x1b", "\x9b"} & set(told.getvalue()) and told.getvalue().count(r"\u001b[2J\u009b31m") == 4


@pytest.mark.usefixtures("logging_as_it_was")
@pytest.mark.parametrize("log", [structured_log, command_log, reports_log])
def test_no_log_holds_a_secret(log: Callable[[], str]) -> None:
    told = log()

    assert "cannot open db" in told and SECRET not in told


@pytest.mark.parametrize(
    "text",
    [
        "db password=hunter2", "password='hunter2' host=db", '{"password": "hunter2", "a": 1}',
        "{'api_key': 'hunter2'}",
        "postgresql://u:hunter2@db/x refused", "redis://:hunter2@h:1/0", "postgresql://u:p@ss:hunter2@h/db",
        "Authorization: Bearer hunter2.abc", "got Bearer hunter2hunter2", "PGPASSWORD=hunter2 psql", "pwd=hunter2!",
        "db password: hunter2", "db password: hunter2 was refused", "https://a/b?token=hunter2&x=1", "TOKEN = hunter2",
        "--db-password hunter2", "client_secret=hunter2;x", "رمز عبور: hunter2", 'password\\": \\"hunter2\\"',
        "X-Api-Key: hunter2", "secret := hunter2", "https://x/y?sig=hunter2", "passwd => 'hunter2'", "token hunter2x1",
        "the password is: hunter2x", "mysql: pass=hunter2", "Cookie: session=hunter2",
        "Set-Cookie: sid=hunter2; Secure", "create user x identified by 'hunter2'",
        "PASSWORD=hunter2", "db.password = hunter2", "account_key=hunter2", "password=hunter2,timeout=3",
        "DB_PASS=hunter2", "pw=hunter2", "passwords=hunter2", "password=(hunter2)", "password=<hunter2>",
        '{"password": {"0": "hunter2", "1": "x"}}', "'password': ['x', 'hunter2']", 'password = {"a": ["hunter2"]}',
        '{"refresh_token":"hunter2', "password='hunter2 x", '{\\"password\\":\\"hunter2',
        "کلمه عبور: hunter2", "کلمهٔ عبور: hunter2", "پسورد: hunter2", "توکن: hunter2",
    ],
)  # fmt: skip
def test_secrets_give_themselves_away_by_the_words_before_them(text: str) -> None:
    assert "hunter2" not in redact(text) and "hunter2" not in error_text(RuntimeError(text))


@pytest.mark.parametrize(
    "secret",
    ["tko_" + "a1" * 20, "whsec_" + "b2" * 16 + "=", "sk-" + "a1" * 12,
     "ghp_" + "b2" * 12, "AKIAIOSFODNN7EXAMPLE", "eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl",
     "ya29." + "a1" * 12, f"SG.{'a1' * 11}.{'b2' * 21}", "glpat-" + "a1" * 10, "github_pat_" + "a1_" * 9,
     "npm_" + "a1" * 18, "hf_" + "aB" * 17, "gsk_" + "a1" * 12,
     "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----"],
)  # fmt: skip
def test_keys_give_themselves_away_by_their_form(secret: str) -> None:
    assert secret not in redact(f"refused {secret}") and redact(f"refused {secret}").startswith("refused ")


@pytest.mark.parametrize(
    "address",
    ["sara@example.com", "ali.rezaei+x@mail.ir", "کاربر@نمونه.ایران", "sara%40example.com",
     '"sara r"@example.com', "+98 912 345 6789", "+98 91 23 45 67 89", "0049 151 23 45 67 89", "09123456789",
     "0912 345 67 89", "021 88 77 66 55", "0098 9123 4567 89", "001 415 555 2671", "۰۹۱۲۳۴۵۶۷۸۹",
     "00989123456789", "989123456789", "98 912 345 67 89", "0 912 345 6789", "(0)912-345-67-89", "0 21 8877 6655",
     "021-8877 6655", "+1 (415) 555-2671", "٠٩١٢٣٤٥٦٧٨٩", "01 23 45 67 89", "06-12-34-56-78", "۰۱ ۰۵ ۴۵ ۶۷ ۸۹",
     "01 05 45 67 89"],
)  # fmt: skip
def test_addresses_of_people_are_masked_in_what_leaves(address: str) -> None:
    for text in (f"550 {address} unknown", f"<{address}>", f"to={address}", f"به {address}، نرسید"):
        assert address not in leaving(text)


@pytest.mark.parametrize(
    "text",
    [
        "password: 5 characters are too few", "password: there is no terminal", "token: lacks the scope",
        "TEKNAV_SECRET_KEY: each key must be 32 bytes", "input_tokens: 12", "max_tokens=100", "the secret is out",
        "token:ci paused it", "token:ci", "all pass", "a cookie: none", "bypass=1", "password: (8 characters or more)",
        '{"password": {"0": "••••", "1": "••••"}}', "password=[••••]",
        "job email:send dead-1 took 12.5 ms", "2026-11-01 12:00:00.250000 0190f2ab-0123-7abc-8def-012345678901",
        "1700000000000-0", "0.123456789012 s", "[0 1 2 3 4 5 6 7 8 9]",
        "0  12  34  56  78  90", "0 120 340 560", "01 02 03 04 05 06 07 08 09 10 11 12", "00 01 02 03 04 05 06 07",
        "09 12 34 56 78 90", "000 001 002 003 004 005", "00  01  02  03  04  05  06", "0010 0011 0012 0013",
        "01-02-03-04-05-06", "01 02 03 04 05", "05 10 15 20 25", "09 08 07 06 05", "12 01 23 45 67 89",
        "12  01 23 45 67 89", "98 97 96 95 94 93", "0  98  97  96  95  94  93 %",
        "127.0.0.1:6379 did not answer", "HTTP 503 after 0912 ms",
    ],
)  # fmt: skip
def test_prose_ids_times_and_numbers_stay(text: str) -> None:
    assert leaving(text) == text


@pytest.mark.parametrize("text", ["a@1@0", "a@b@c@d, e", "a%40b@c@d"])
def test_what_is_masked_once_stays_as_it_is(text: str) -> None:
    assert leaving(leaving(text)) == leaving(text)


@settings(deadline=None)
@given(st.text(max_size=200), st.from_regex(r"[a-z0-9!#%]{8,20}", fullmatch=True))
def test_a_password_is_masked_whatever_stands_around_it(around: str, password: str) -> None:
    text = f"{around}\npassword={password}\n"

    assert f"password={password}" not in leaving(text)
    assert leaving(leaving(text)) == leaving(text)


def test_long_texts_of_anybody_take_no_time() -> None:
    for text in ("a" * 200_000, "token " * 30_000, "1" * 100_000, "a@" * 30_000, "password" * 20_000, "x://" * 20_000,
                 "token='" * 20_000, "a." * 50_000, "0 " * 50_000):  # fmt: skip
        # Quadratic ones take minutes: the suite's limit of five seconds a test is what fails then.
        assert isinstance(leaving(text), str)
    assert masked_value("text/markdown", underscores := "a" + "_" * 50_000 + "a") == underscores
