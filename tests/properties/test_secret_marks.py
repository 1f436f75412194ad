"""Free data never makes a worker decrypt, and never names a secret that somebody else sealed."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from teknav_ops.errors import InvalidPayload
from teknav_ops.payloads.codec import MASK, Cipher
from teknav_ops.producer import Producer
from tests.properties.payloads import FREE, PAYLOADS, examples
from tests.support import strategies as odd

PLACES = st.sampled_from([(place, field) for place, data in PAYLOADS.items() for field in data if field in FREE])


@examples(40)
@given(place=PLACES, depth=st.integers(0, 5), beside=odd.plain_objects, is_token=st.booleans())
def test_a_sealed_secret_in_free_data_is_refused_and_told_by_place(
    client: redis.Redis, cipher: Cipher, place: Any, depth: int, beside: dict[str, Any], is_token: bool
) -> None:
    (queue, job), field = place
    marked = beside | {"$secret": cipher.encrypt("hunter2") if is_token else "x"}
    data: Any = odd.nested(depth, marked)
    producer = Producer(client, cipher=cipher)  # type: ignore[arg-type]
    with pytest.raises(InvalidPayload, match="marks what is encrypted") as caught:
        producer.enqueue(queue, job, {**PAYLOADS[queue, job], field: [data] if field == "events" else data})
    assert caught.value.fields[0][0].startswith(field)
    assert client.dbsize() == 0 and "hunter2" not in json.dumps(str(caught.value))


TEXT_FIELDS = [
    (place, name) for place, data in PAYLOADS.items() for name, value in data.items() if isinstance(value, str)
]


@pytest.mark.parametrize(("place", "field"), [*TEXT_FIELDS, (("email:send", "send-email"), "secrets")])
def test_the_mask_is_no_value_of_a_new_job(client: redis.Redis, cipher: Cipher, place: Any, field: str) -> None:
    producer = Producer(client, cipher=cipher)  # type: ignore[arg-type]
    value = {"link": MASK} if field == "secrets" else MASK
    with pytest.raises(InvalidPayload, match="only stands for a secret") as caught:
        producer.enqueue(*place, {**PAYLOADS[place], field: value})
    assert caught.value.fields[0][0].startswith(field)
    assert client.dbsize() == 0
