"""What scripts keep of an error's text in the audit trail: its beginning, in whole characters."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.scripts import Delivery, Failure
from tests.support.state import KEYS, State, failure, run_of

PERSIAN = "خطا در سرور "


def postponed(state: State, delivery: Delivery, words: str) -> None:
    state.run(
        scripts.postpone(
            KEYS, worker="w:1", run=run_of(delivery), failure=said(words), delay_ms=1, uses_attempt=True, series=""
        )
    )


def given_up(state: State, delivery: Delivery, words: str) -> None:
    call = scripts.dead_letter(KEYS, worker="w:1", run=run_of(delivery), failure=said(words), failed_kept=9)
    state.run(call)


def stuck(state: State, delivery: Delivery, words: str) -> None:
    place = {"job_id": delivery.id, "delivery": delivery.delivery}
    state.run(scripts.note_stuck(KEYS, worker="w:1", **place, detail=words, attempt=failure().attempt))


def said(words: str) -> Failure:
    return Failure("ValueError", words, "Traceback", "f1", failure().attempt)


@pytest.mark.parametrize("end", [postponed, given_up, stuck])
@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ("a" * 499 + "é", 499),
        ("a" * 498 + "é", 499),
        ("a" * 498 + "😀", 498),
        (PERSIAN * 100, 285),
        ("x" + PERSIAN * 100, 286),
        ("a" * 501, 500),
        ("é", 1),
    ],
)
def test_a_text_is_cut_between_two_characters(
    state: State, end: Callable[[State, Delivery, str], None], words: str, kept: int
) -> None:
    state.enqueue()
    (delivery,) = state.fetch()
    end(state, delivery, words)

    # The client refuses what is no UTF-8.
    details = [fields["detail"] for _, fields in state.client.xrange(KEYS.audit) if "detail" in fields]
    assert details and set(details) == {words[:kept]}
