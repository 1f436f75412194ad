"""Payloads as they are stored: validated, and with their secrets encrypted.

A secret field (typed `SecretStr`) is stored as `{"$secret": "<Fernet token>"}`. Whoever shows a
stored payload uses `mask`; only a worker uses `unseal`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import date, time
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import AnyUrl, SecretStr, ValidationError

from teknav_ops.errors import InvalidPayload, MissingSecretKey, PayloadTooLarge
from teknav_ops.payloads import plain
from teknav_ops.payloads.base import Payload

SECRET_MARK: Final = "$secret"
MASK: Final = "••••"
#: Values of Python's own that a field's type may ask for; they are stored as their text.
_TYPED: Final = (date, time, UUID, Decimal, AnyUrl)
_PROBLEMS_SHOWN: Final = 20
_ABSENT: Final = object()


class Cipher:
    """Encrypts and decrypts secret fields. The first key encrypts; all keys decrypt."""

    def __init__(self, keys: list[str]) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys]) if keys else None

    def encrypt(self, text: str) -> str:
        """A token safe to store. Raises MissingSecretKey."""
        return self._require().encrypt(text.encode()).decode()

    def decrypt(self, token: str) -> str:
        """The text behind a token. Raises MissingSecretKey, or InvalidPayload for a foreign token."""
        try:
            return self._require().decrypt(token).decode()
        except InvalidToken:
            raise InvalidPayload(
                "payload: a secret cannot be decrypted; was TEKNAV_SECRET_KEY changed without keeping the old key?"
            ) from None

    def _require(self) -> MultiFernet:
        if self._fernet is None:
            raise MissingSecretKey("TEKNAV_SECRET_KEY is not set and the payload has secret fields")
        return self._fernet


def validate(model: type[Payload], data: Any, *, where: str) -> Payload:
    """Build the payload, or raise InvalidPayload that names each field and its problem."""
    if not isinstance(data, Mapping):
        raise InvalidPayload(f"{where}: the payload must be a JSON object, not {type(data).__name__}")
    try:
        fields = plain.fields_of(data)
        # What a field's type may take from Python (a datetime) stands on the first level only.
        plain.check(
            {name: value for name, value in fields.items() if not isinstance(value, _TYPED)}, reserved=SECRET_MARK
        )
        return model.model_validate(fields)
    except plain.NotPlain as error:
        raise _invalid(where, [(error.path or "payload", error.problem)]) from None
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        # `from None`: pydantic's own text quotes the input, which may hold a secret.
        raise _invalid(where, [(plain.path_of(item["loc"]) or "payload", item["msg"]) for item in found]) from None


def _invalid(where: str, fields: list[tuple[str, str]]) -> InvalidPayload:
    problems = "; ".join(f"{path}: {problem}" for path, problem in fields[:_PROBLEMS_SHOWN])
    more = f"; and {len(fields) - _PROBLEMS_SHOWN:,} more" if len(fields) > _PROBLEMS_SHOWN else ""
    return InvalidPayload(f"{where}: {problems}{more}", fields[:_PROBLEMS_SHOWN])


def seal(payload: Payload, cipher: Cipher, *, limit_bytes: int) -> str:
    """The payload as JSON with its secrets encrypted.

    Raises:
        PayloadTooLarge: when the JSON exceeds `limit_bytes`.
        MissingSecretKey: when there are secrets and no key.
    """
    dumped = payload.model_dump(mode="python", exclude_unset=True)
    text = json.dumps(dumped, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_sealer(cipher))
    size = len(text.encode())
    if size > limit_bytes:
        raise PayloadTooLarge(
            f"payload: {size:,} bytes is over the limit of {limit_bytes:,}; store the data and pass its id"
        )
    return text


def dump(data: Any, *, where: str) -> str:
    """Data that no model describes, as JSON. Raises InvalidPayload that names the place of what JSON cannot carry."""
    try:
        plain.check(data)
    except plain.NotPlain as error:
        raise _invalid(where, [(error.path or "payload", error.problem)]) from None
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def _sealer(cipher: Cipher) -> Callable[[Any], Any]:
    def plain(value: Any) -> Any:
        if isinstance(value, SecretStr):
            return {SECRET_MARK: cipher.encrypt(value.get_secret_value())}
        if isinstance(value, _TYPED):
            return str(value)
        raise InvalidPayload(f"payload: holds a {type(value).__name__}, which has no JSON form")

    return plain


def unseal(stored: Any, cipher: Cipher) -> Any:
    """Stored payload data with its secrets decrypted, to be validated again."""
    if isinstance(stored, dict):
        if stored.keys() == {SECRET_MARK}:
            return cipher.decrypt(stored[SECRET_MARK])
        return {name: unseal(value, cipher) for name, value in stored.items()}
    if isinstance(stored, list):
        return [unseal(value, cipher) for value in stored]
    return stored


def mask(stored: Any) -> Any:
    """Stored payload data with its secrets replaced by dots, to be shown."""
    if isinstance(stored, dict):
        if stored.keys() == {SECRET_MARK}:
            return MASK
        return {name: mask(value) for name, value in stored.items()}
    if isinstance(stored, list):
        return [mask(value) for value in stored]
    return stored


def differing_field(first: Any, second: Any) -> list[str] | None:
    """The path to the first difference of two payloads' data; None when there is none."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        names = [*first, *(name for name in second if name not in first)]
        pairs = [(str(name), first.get(name, _ABSENT), second.get(name, _ABSENT)) for name in names]
    elif isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        pairs = [(str(index), *pair) for index, pair in enumerate(zip(first, second, strict=True))]
    else:
        return None if first == second else []
    for name, one, other in pairs:
        path = differing_field(one, other)
        if path is not None:
            return [name, *path]
    return None


def secret_values(payload: Any) -> Iterator[str]:
    """Every secret in a validated payload, in clear, so that texts can be redacted."""
    if isinstance(payload, SecretStr):
        yield payload.get_secret_value()
    elif isinstance(payload, Payload):
        for name in type(payload).model_fields:
            yield from secret_values(getattr(payload, name))
    elif isinstance(payload, Mapping):
        for value in payload.values():
            yield from secret_values(value)
    elif isinstance(payload, list | tuple | set | frozenset):
        for value in payload:
            yield from secret_values(value)


def redact(text: str, secrets: frozenset[str]) -> str:
    """The text with every secret masked, longest first so that none survives inside another."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= 3:
            text = text.replace(secret, MASK)
    return text
