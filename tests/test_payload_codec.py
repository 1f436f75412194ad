"""Payloads at rest: validated, sealed, masked, redacted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from teknav_ops.errors import InvalidPayload
from teknav_ops.payloads import codec
from teknav_ops.payloads.base import Payload
from teknav_ops.payloads.codec import Cipher
from tests.properties.payloads import examples
from tests.support.strategies import storable_texts


class Nested(Payload):
    """x."""

    names: dict[str, SecretStr]
    many: list[SecretStr] = []  # noqa: RUF012
    number: int = 0


KEY = Fernet.generate_key().decode()


@pytest.mark.parametrize(
    ("first", "again", "path"),
    [
        ({"a": 1, "b": [1, {"c": 2}]}, {"b": [1, {"c": 2}], "a": 1.0}, None),
        ({"a": 1}, {"a": 2}, ["a"]),
        ({"a": None}, {}, ["a"]),
        ({}, {"b": None}, ["b"]),
        ({"b": [1, {"c": 2}]}, {"b": [1, {"c": 3}]}, ["b", "1", "c"]),
        ({"b": [1]}, {"b": [1, 2]}, ["b"]),
        ({"b": {}}, {"b": []}, ["b"]),
        ([1], {"b": []}, []),
    ],
)
def test_the_first_difference_is_named_by_its_path(first: Any, again: Any, path: list[str] | None) -> None:
    assert codec.differing_field(first, again) == path


@examples(100)
@given(st.dictionaries(storable_texts, storable_texts, max_size=5))
def test_sealing_and_unsealing_give_the_payload_back(names: dict[str, str]) -> None:
    cipher = Cipher([KEY])
    payload = Nested(names={name: SecretStr(value) for name, value in names.items()}, number=3)

    stored = json.loads(codec.seal(payload, cipher, limit_bytes=10**6))

    assert codec.validate(Nested, codec.unseal(stored, cipher), where="t") == payload
    shown = codec.mask(stored)
    assert set(shown["names"].values()) <= {codec.MASK}


def test_lists_of_secrets_are_sealed_too() -> None:
    payload = Nested(names={}, many=[SecretStr("alpha"), SecretStr("beta")])
    text = codec.seal(payload, Cipher([KEY]), limit_bytes=10**6)

    assert "alpha" not in text and "beta" not in text
    assert set(codec.secret_values(payload)) == {"alpha", "beta"}


def test_keys_are_rotated_by_putting_the_new_one_first() -> None:
    old, new = KEY, Fernet.generate_key().decode()
    token = Cipher([old]).encrypt("s")

    assert Cipher([new, old]).decrypt(token) == "s"
    with pytest.raises(InvalidPayload, match="TEKNAV_SECRET_KEY"):
        Cipher([new]).decrypt(token)


@pytest.mark.parametrize(
    ("text", "secrets", "shown"),
    [
        ("token abc123 refused", {"abc123"}, "token •••• refused"),
        ("abc123 and abc", {"abc", "abc123"}, "•••• and ••••"),
        ("a b", {"a"}, "a b"),
    ],
)
def test_texts_are_redacted(text: str, secrets: set[str], shown: str) -> None:
    assert codec.redact(text, frozenset(secrets)) == shown


@pytest.mark.parametrize("data", [None, 1, "x", []])
def test_only_objects_are_payloads(data: Any) -> None:
    with pytest.raises(InvalidPayload, match="must be a JSON object"):
        codec.validate(Nested, data, where="t")
