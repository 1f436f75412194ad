"""Texts of megabytes, such as an answer that an error quotes: only what is kept is looked through, no secret stays."""

from __future__ import annotations

import io
import logging
from contextlib import redirect_stderr

import pytest

from teknav_ops.engine.failure import describe
from teknav_ops.logs import MaskedFormatter, configure_logs
from teknav_ops.payloads import redaction
from teknav_ops.payloads.redaction import error_text, redact_beginning, redact_end, redact_long
from teknav_ops.redis_state.scripts import Run
from teknav_ops.settings import Settings

LONG = "a" * 3_000_000
SECRET = "hunter2-" * 8


@pytest.fixture
def looked_through(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How long each text was in which secrets were looked for."""
    lengths: list[int] = []
    mask = redaction.mask_credentials

    def noted(text: str) -> str:
        lengths.append(len(text))
        return mask(text)

    monkeypatch.setattr(redaction, "mask_credentials", noted)
    return lengths


def raised(text: str) -> ValueError:
    try:
        raise ValueError(text)
    except ValueError as error:
        return error


@pytest.mark.usefixtures("logging_as_it_was")
def test_of_a_long_error_only_what_is_kept_is_looked_through(looked_through: list[int]) -> None:
    failure = describe(Run("1", 1, 0, 1.0, ""), raised(LONG), attempt=1, worker="w:1")
    with redirect_stderr(io.StringIO()) as told:
        configure_logs(Settings())
        logging.getLogger("y").error("it broke", exc_info=raised(LONG))
    record = logging.LogRecord("x", logging.ERROR, "", 0, "failed: %s", (LONG,), None)
    line = MaskedFormatter("%(message)s").format(record)

    assert (len(failure.error), len(failure.stack)) == (2_000, 12_000)
    assert "Traceback" in told.getvalue() and "characters left out" in told.getvalue() and "left out" in line
    assert max(map(len, (told.getvalue(), line))) < 40_000 and max(looked_through) < 60_000


@pytest.mark.parametrize("limit_characters", [50, 2_000])
@pytest.mark.parametrize("at", range(9_000, 13_000, 503))
def test_of_a_secret_that_a_cut_goes_through_nothing_stays(at: int, limit_characters: int) -> None:
    text = f"{'x ' * (at // 2)}{SECRET}{' x' * 20_000}"

    for kept in (redact_beginning, redact_end, redact_long):
        for whole in (text, text[::-1].replace(SECRET[::-1], SECRET)):
            assert "hunter2" not in kept(whole, limit_characters, frozenset({SECRET}))


@pytest.mark.parametrize("at", range(8_000, 13_000, 503))
def test_of_a_password_whose_name_is_left_out_nothing_stays(at: int) -> None:
    text = f"{'x' * 20_000} password={SECRET} {'x' * at}"

    assert "hunter2" not in redact_end(text, 2_000) and "hunter2" not in redact_beginning(text[-at:] + text, 2_000)


def test_a_secret_that_is_longer_than_all_others_is_masked_though_a_cut_goes_through_it() -> None:
    key = "0123456789" * 2_000

    assert "0" not in redact_beginning(f"x{key}{'y' * 99_999}", 500, frozenset({key}))
    assert error_text(ValueError(f"{'x' * 1_990}{key}"), secrets=frozenset({key})) == f"{'x' * 1_990}••••"


def test_short_texts_are_kept_whole() -> None:
    for kept in (redact_beginning, redact_end, redact_long):
        assert kept("it broke", 100) == "it broke"
    assert redact_long("a" * 60 + "b" * 60, 100) == "a" * 50 + " … 20 characters left out … " + "b" * 50
