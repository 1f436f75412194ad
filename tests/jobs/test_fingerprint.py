"""Which failures are one failure."""

from __future__ import annotations

import pytest

from teknav_ops.jobs.fingerprint import fingerprint, message_shape

SAME = [
    ("ValueError", "row 17 is missing", "row 98211 is missing"),
    ("ConnectionError", "connect to 10.0.0.1:6379 timed out", "connect to 10.20.30.4:6380 timed out"),
    ("HTTPError", "GET https://a.example/x?id=1 gave 500", "GET https://b.example/y gave 500"),
    ("FileNotFoundError", "no '/data/a/b.jpg'", "no '/data/c/d.png'"),
    ("MailRefused", "550 <sara@example.com> unknown", "550 <ali@example.org> unknown"),
    ("X", "job 0b9c1f04-2f0e-4a54-b3cf-0f4b3f1f7a10 lost", "job 8f14e45f-ceea-4e7a-9c3b-1d2e3f4a5b6c lost"),
    ("MailRefused", "451 4.7.1 greylisted, id 4RkqX12abc", "451 4.7.1 greylisted, id 7Bz9kLmQp1"),
    ("AiUnavailable", "request req_9fK3aZxx was refused", "request req_B1cD2eF3 was refused"),
    ("X", "at 2026-11-24T10:00:00Z", "at 2025-01-02 03:04:05"),
    ("X", "مقالهٔ «الف» یافت نشد", "مقالهٔ «ب» یافت نشد"),
]


@pytest.mark.parametrize(("error_type", "one", "other"), SAME)
def test_data_in_messages_does_not_split_a_cause(error_type: str, one: str, other: str) -> None:
    assert fingerprint(error_type, one) == fingerprint(error_type, other)


def test_the_missing_key_is_the_cause() -> None:
    assert fingerprint("KeyError", "'name'") != fingerprint("KeyError", "'title'")
    assert fingerprint("KeyError", "'ipv6_enabled'") != fingerprint("KeyError", "'http2_enabled'")


def test_type_and_words_tell_causes_apart() -> None:
    assert fingerprint("StorageRefused", "no utf8mb4_general_ci") != fingerprint("StorageRefused", "no latin1_bin")
    assert fingerprint("StorageRefused", "no utf8mb4_general_ci") != fingerprint("StorageRefused", "no utf8mb3_bin")
    assert fingerprint("PluginFailed", "no base64decode") != fingerprint("PluginFailed", "no sha256sum")
    assert fingerprint("AiUnavailable", "no gpt-4o-mini") != fingerprint("AiUnavailable", "no llama-3-70b")
    marks = {fingerprint("ValueError", "a b"), fingerprint("TypeError", "a b"), fingerprint("ValueError", "a c")}
    assert len(marks) == 3


def test_the_place_in_our_code_counts_and_its_line_does_not() -> None:
    def here() -> None:
        raise ValueError("x")

    def there() -> None:
        raise ValueError("x")

    marks = []
    for function in (here, there, here):
        try:
            function()
        except ValueError as error:
            marks.append(fingerprint("ValueError", "x", error.__traceback__))
    assert marks[0] == marks[2] != marks[1]


def test_long_messages_are_cut() -> None:
    assert len(message_shape("X", "word " * 10_000)) <= 300
