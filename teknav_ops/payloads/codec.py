"""Payloads as they are stored: validated, and with their secrets encrypted.

A secret field (typed `SecretStr`) is stored as `{"$secret": "<Fernet token>"}`. The token is bound to its place: the
queue, the job's name and id, and the field. Copied to any other place it is refused, so nobody can have a
worker decrypt it into what is shown. Whoever shows a stored payload uses `mask`; only a worker uses `unseal`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, time
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import AnyUrl, SecretStr, ValidationError

from teknav_ops.errors import InvalidPayload, MissingSecretKey, PayloadTooLarge
from teknav_ops.payloads import plain
from teknav_ops.payloads.base import Payload
from teknav_ops.payloads.exact import exact_within
from teknav_ops.payloads.key_ring import KeyRing

SECRET_MARK: Final = "$secret"
MASK: Final = "••••"
#: Values of Python's own that a field's type may ask for; they are stored as their text.
_TYPED: Final = (date, time, UUID, Decimal, AnyUrl)
_PROBLEMS_SHOWN: Final = 20
_ABSENT: Final = object()


_SEPARATOR: Final = "\x1f"
_BINDING_CHARACTERS: Final = 64


@dataclasses.dataclass(frozen=True, slots=True)
class Holder:
    """The job that holds a payload: what its secrets are bound to, with the name of their field."""

    queue: str
    job: str
    job_id: str

    def place(self, path: Iterable[Any]) -> str:
        """The place of a field of this job's payload."""
        return _SEPARATOR.join([self.queue, self.job, self.job_id, *map(str, path)])


class Cipher:
    """Encrypts and decrypts secrets. The first key encrypts; all keys decrypt.

    A token that was made for a `place` opens at that place only.
    """

    def __init__(self, keys: list[str]) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys]) if keys else None
        self.keys = KeyRing(keys)

    def encrypt(self, text: str, *, place: str = "") -> str:
        """A token safe to store. Raises MissingSecretKey."""
        return self._require().encrypt((_binding(place) + text).encode()).decode()

    def decrypt(self, token: str, *, place: str = "") -> str:
        """The text behind a token. Raises MissingSecretKey, or InvalidPayload for a token of another key or place."""
        try:
            text = self._require().decrypt(token).decode()
        except (InvalidToken, TypeError):
            raise InvalidPayload(
                "the secret cannot be decrypted; was TEKNAV_SECRET_KEY changed without keeping the old key?"
            ) from None
        binding = _binding(place)
        if not hmac.compare_digest(text[: len(binding)].encode(), binding.encode()):
            raise InvalidPayload("the secret was encrypted for another job or field")
        return text[len(binding) :]

    def _require(self) -> MultiFernet:
        if self._fernet is None:
            raise MissingSecretKey("TEKNAV_SECRET_KEY is not set and the payload has secret fields")
        return self._fernet


def _binding(place: str) -> str:
    return hashlib.sha256(place.encode("utf-8", "surrogatepass")).hexdigest() if place else ""


def validate(model: type[Payload], data: Any, *, where: str) -> Payload:
    """Build the payload, or raise InvalidPayload that names each field and its problem."""
    try:
        if not plain.guarded(lambda given: isinstance(given, Mapping), data, ""):
            raise InvalidPayload(f"{where}: the payload must be a JSON object, not {type(data).__name__}")
        fields = plain.fields_of(data)
        # What a field's type may take from Python (a datetime) stands on the first level only.
        typed = {name: value for name, value in fields.items() if issubclass(type(value), _TYPED)}
        others = {name: value for name, value in fields.items() if name not in typed}
        for name, value in typed.items():
            plain.guarded(str, value, name)
        if not plain.check(others, reserved=SECRET_MARK, mask=MASK):
            fields = plain.guarded(exact_within, others, "") | typed
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


def seal(payload: Payload, cipher: Cipher, holder: Holder, *, limit_bytes: int) -> str:
    """The payload as JSON, its secrets encrypted for this job.

    Raises:
        PayloadTooLarge: when the JSON exceeds `limit_bytes`.
        MissingSecretKey: when there are secrets and no key.
    """
    dumped = _sealed(payload.model_dump(mode="python", exclude_unset=True), cipher, holder, ())
    text = json.dumps(dumped, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_as_text)
    size = len(text.encode())
    if size > limit_bytes:
        raise PayloadTooLarge(
            f"payload: {size:,} bytes is over the limit of {limit_bytes:,}; store the data and pass its id"
        )
    return text


def dump(data: Any, *, where: str) -> str:
    """Data that no model describes, as JSON. Raises InvalidPayload that names the place of what JSON cannot carry."""
    try:
        if not plain.check(data):
            data = plain.guarded(exact_within, data, "")
    except plain.NotPlain as error:
        raise _invalid(where, [(error.path or "payload", error.problem)]) from None
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def _sealed(value: Any, cipher: Cipher, holder: Holder, path: tuple[Any, ...]) -> Any:
    if isinstance(value, SecretStr):
        return {SECRET_MARK: cipher.encrypt(value.get_secret_value(), place=holder.place(path))}
    if isinstance(value, dict):
        return {name: _sealed(inner, cipher, holder, (*path, name)) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_sealed(inner, cipher, holder, (*path, index)) for index, inner in enumerate(value)]
    return value


def _as_text(value: Any) -> str:
    if isinstance(value, _TYPED):
        return str(value)
    raise InvalidPayload(f"payload: holds a {type(value).__name__}, which has no JSON form")


def unseal(stored: Any, cipher: Cipher, holder: Holder) -> Any:
    """Stored payload data of this job with its secrets decrypted, to be validated again.

    Raises:
        InvalidPayload: a secret was encrypted under another key, or for another job or field.
        MissingSecretKey: there are secrets and no key.
    """
    return _unsealed(stored, cipher, holder, ())


def _unsealed(stored: Any, cipher: Cipher, holder: Holder, path: tuple[Any, ...]) -> Any:
    if isinstance(stored, dict):
        if stored.keys() == {SECRET_MARK}:
            return _opened(stored[SECRET_MARK], cipher, holder, path)
        return {name: _unsealed(value, cipher, holder, (*path, name)) for name, value in stored.items()}
    if isinstance(stored, list):
        return [_unsealed(value, cipher, holder, (*path, index)) for index, value in enumerate(stored)]
    return stored


def _opened(token: Any, cipher: Cipher, holder: Holder, path: tuple[Any, ...]) -> str:
    try:
        return cipher.decrypt(token, place=holder.place(path))
    except InvalidPayload as error:
        raise _invalid("payload", [(plain.path_of(path), str(error))]) from None


def keep_masked(edited: Any, stored: Any, cipher: Cipher, holder: Holder) -> Any:
    """Edited payload data in which each mask that stands for a secret of this job is that secret again.

    A mask anywhere else is left, and refused by `validate`. Raises as `unseal`.
    """
    return _kept(edited, stored, cipher, holder, ())


def _kept(edited: Any, stored: Any, cipher: Cipher, holder: Holder, path: tuple[Any, ...]) -> Any:
    if isinstance(stored, dict) and stored.keys() == {SECRET_MARK}:
        return _unsealed(stored, cipher, holder, path) if edited == MASK else edited
    if isinstance(edited, Mapping) and isinstance(stored, dict):
        return {name: _kept(value, stored.get(name), cipher, holder, (*path, name)) for name, value in edited.items()}
    if isinstance(edited, list) and isinstance(stored, list):
        pairs = zip(edited, [*stored, *[None] * len(edited)], strict=False)
        return [_kept(one, other, cipher, holder, (*path, index)) for index, (one, other) in enumerate(pairs)]
    return edited


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
    elif isinstance(first, list | tuple) and isinstance(second, list | tuple) and len(first) == len(second):
        pairs = [(str(index), *pair) for index, pair in enumerate(zip(first, second, strict=True))]
    else:
        # To Python, true equals 1.
        is_same = first == second and isinstance(first, bool) == isinstance(second, bool)
        return None if is_same else []
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
