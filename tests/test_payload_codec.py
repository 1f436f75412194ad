"""Payloads at rest: validated, sealed, masked, redacted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from teknav_ops.errors import InvalidPayload, InvalidRequest
from teknav_ops.payloads import codec, plain
from teknav_ops.payloads.base import Payload
from teknav_ops.payloads.codec import Cipher
from teknav_ops.payloads.redaction import redact
from tests.properties.payloads import examples
from tests.support.strategies import storable_texts


class Nested(Payload):
    """x."""

    names: dict[str, SecretStr]
    many: list[SecretStr] = []  # noqa: RUF012
    number: int = 0


KEY = Fernet.generate_key().decode()
#: What a secret may be: anything but the mask that stands for one.
SECRETS = storable_texts.filter(lambda text: text.strip() != codec.MASK)
HOLDER = codec.Holder("a:queue", "nested", "job-1")


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
        ({"a": 1}, {"a": True}, ["a"]),
        ({"a": [False]}, {"a": [0.0]}, ["a", "0"]),
        ({"a": ({"b": True}, 2)}, {"a": ({"b": 1}, 2)}, ["a", "0", "b"]),
        ({"a": True}, {"a": True}, None),
    ],
)
def test_the_first_difference_is_named_by_its_path(first: Any, again: Any, path: list[str] | None) -> None:
    assert codec.differing_field(first, again) == path


@examples(100)
@given(st.dictionaries(storable_texts, SECRETS, max_size=5))
def test_sealing_and_unsealing_give_the_payload_back(names: dict[str, str]) -> None:
    cipher = Cipher([KEY])
    payload = Nested(names={name: SecretStr(value) for name, value in names.items()}, number=3)

    stored = json.loads(codec.seal(payload, cipher, HOLDER, limit_bytes=10**6))

    assert codec.validate(Nested, codec.unseal(stored, cipher, HOLDER), where="t") == payload
    shown = codec.mask(stored)
    assert set(shown["names"].values()) <= {codec.MASK}


def test_lists_of_secrets_are_sealed_too() -> None:
    payload = Nested(names={}, many=[SecretStr("alpha"), SecretStr("beta")])
    text = codec.seal(payload, Cipher([KEY]), HOLDER, limit_bytes=10**6)

    assert "alpha" not in text and "beta" not in text
    assert set(codec.secret_values(payload)) == {"alpha", "beta"}


@pytest.mark.parametrize(
    "other",
    [
        codec.Holder("a:queue", "nested", "job-2"),
        codec.Holder("a:queue", "n", "job-1"),
        codec.Holder("another", "nested", "job-1"),
    ],
)
def test_a_secret_opens_at_its_own_job_only(other: codec.Holder) -> None:
    cipher = Cipher([KEY])
    payload = Nested(names={"a": SecretStr("alpha")})
    stored = json.loads(codec.seal(payload, cipher, HOLDER, limit_bytes=10**6))

    assert codec.unseal(stored, cipher, HOLDER) == {"names": {"a": "alpha"}}
    with pytest.raises(InvalidPayload, match=r"names\.a: the secret was encrypted for another job or field"):
        codec.unseal(stored, cipher, other)


@examples(60)
@given(
    names=st.dictionaries(storable_texts, SECRETS, min_size=1, max_size=4),
    many=st.lists(SECRETS, min_size=1, max_size=4),
    data=st.data(),
)
def test_a_secret_opens_at_its_own_field_only(names: dict[str, str], many: list[str], data: st.DataObject) -> None:
    cipher = Cipher([KEY])
    payload = Nested(names={k: SecretStr(v) for k, v in names.items()}, many=[SecretStr(v) for v in many])
    stored = json.loads(codec.seal(payload, cipher, HOLDER, limit_bytes=10**6))
    tokens = [*stored["names"].values(), *stored["many"]]
    moved = data.draw(st.sampled_from(tokens))

    for place in ({"number": moved}, {"names": {"x" * 50: moved}}, {"many": [[moved]]}, moved, [moved], {"": moved}):
        with pytest.raises(InvalidPayload, match="encrypted for another job or field"):
            codec.unseal(place, cipher, HOLDER)


def test_a_token_of_another_use_is_no_secret_of_a_payload() -> None:
    cipher = Cipher([KEY])
    for token in (cipher.encrypt("alpha"), "", "x", None, 1, ["x"]):
        with pytest.raises(InvalidPayload, match=r"^payload: names\.a: the secret"):
            codec.unseal({"names": {"a": {codec.SECRET_MARK: token}}}, cipher, HOLDER)


@examples(60)
@given(
    names=st.dictionaries(storable_texts, SECRETS, min_size=1, max_size=5),
    many=st.lists(SECRETS, max_size=4),
    data=st.data(),
)
def test_masks_in_an_edited_payload_keep_what_they_hide(
    names: dict[str, str], many: list[str], data: st.DataObject
) -> None:
    cipher = Cipher([KEY])
    payload = Nested(names={k: SecretStr(v) for k, v in names.items()}, many=[SecretStr(v) for v in many])
    stored = json.loads(codec.seal(payload, cipher, HOLDER, limit_bytes=10**6))
    edited = codec.mask(stored)
    changed = data.draw(st.sets(st.sampled_from(sorted(names))))
    edited["names"].update(dict.fromkeys(changed, "new"))
    edited["number"] = 7

    kept = codec.keep_masked(edited, stored, cipher, HOLDER)

    wanted = {name: "new" if name in changed else value for name, value in names.items()}
    assert kept == {"names": wanted, "many": many, "number": 7}


@pytest.mark.parametrize(
    ("edited", "field"),
    [
        ({"names": {"b": codec.MASK}}, "names.b"),
        ({"names": {"a": "x"}, "many": ["y", codec.MASK]}, "many.1"),
        ({"names": codec.MASK}, "names"),
        ({"names": {}, "number": f" {codec.MASK} "}, "number"),
        ({"names": {}, "unknown": [{"deep": codec.MASK}]}, "unknown.0.deep"),
    ],
)
def test_a_mask_that_hides_nothing_is_refused_by_field(edited: dict[str, Any], field: str) -> None:
    cipher = Cipher([KEY])
    payload = Nested(names={"a": SecretStr("alpha")}, many=[SecretStr("one")])
    stored = json.loads(codec.seal(payload, cipher, HOLDER, limit_bytes=10**6))

    with pytest.raises(InvalidPayload) as caught:
        codec.validate(Nested, codec.keep_masked(edited, stored, cipher, HOLDER), where="t")
    assert [path for path, _ in caught.value.fields] == [field]


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
    assert redact(text, frozenset(secrets)) == shown


@pytest.mark.parametrize("data", [None, 1, "x", []])
def test_only_objects_are_payloads(data: Any) -> None:
    with pytest.raises(InvalidPayload, match="must be a JSON object"):
        codec.validate(Nested, data, where="t")


@pytest.mark.parametrize(
    ("text", "key"),
    [('{"a": 1, "a": 1}', "a"), ('[{"x": {"b": 1, "a": 2, "\\u0061": 3}}]', "a"), ('{"کلید": 1, "کلید": 1}', "کلید")],
)
def test_a_key_that_stands_twice_is_refused_by_name(text: str, key: str) -> None:
    with pytest.raises(InvalidRequest, match=f"--data: has the key '{key}' twice"):
        plain.parse(text, "--data")
