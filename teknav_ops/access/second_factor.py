"""The second factor of local users: a key in an authenticator app, and recovery codes for who loses it.

The key is encrypted with the project's key, for its user. A code counts once, in all processes: its period is written
down as it is accepted, and no period at or before it is accepted again.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import secrets
import time
from datetime import datetime
from functools import cached_property
from typing import Final, Literal

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as SqlSession

from teknav_ops.access import totp
from teknav_ops.access.policy import Operator, require_to_administer
from teknav_ops.access.users import Users
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.errors import InvalidRequest, WrongState
from teknav_ops.payloads.codec import Cipher
from teknav_ops.secret_key import cipher_keys
from teknav_ops.settings import Settings
from teknav_ops.storage.tables import AccessRecoveryCode, AccessTotp
from teknav_ops.storage.tables.base import utc_now

RECOVERY_CODE_COUNT: Final = 10
#: 80 bits: as with tokens, a plain hash is enough to keep them.
_RECOVERY_BYTES: Final = 10
_GROUP: Final = 4


@dataclasses.dataclass(frozen=True, slots=True)
class SetUp:
    """What an app needs to know. The key stands nowhere else in clear."""

    key: str
    uri: str


@dataclasses.dataclass(frozen=True, slots=True)
class Factor:
    """A second factor that is on."""

    since: datetime
    recovery_codes_left: int


class SecondFactors:
    """Sets up, checks and takes away second factors."""

    def __init__(self, settings: Settings, operator_log: OperatorLog, users: Users) -> None:
        self._settings = settings
        self._log = operator_log
        self._database = operator_log.database
        self._users = users

    @cached_property
    def _cipher(self) -> Cipher:
        return Cipher(cipher_keys(self._settings))

    def of(self, user_id: int) -> Factor | None:
        """The user's factor; None where it is off, or only begun."""
        with self._database.reading() as session:
            row = session.get(AccessTotp, user_id)
            if row is None or row.confirmed_at is None:
                return None
            unused = select(func.count()).where(
                AccessRecoveryCode.user_id == user_id, AccessRecoveryCode.used_at.is_(None)
            )
            return Factor(row.confirmed_at, session.scalar(unused) or 0)

    def begin(self, user_id: int, name: str) -> SetUp:
        """A new key, which counts once a code has confirmed it; one begun earlier is void. Raises WrongState."""
        key = totp.new_key()
        row = AccessTotp(user_id=user_id, sealed_key=self._cipher.encrypt(key, place=place_of(user_id)))
        try:
            with self._database.session() as session:
                begun = delete(AccessTotp).where(AccessTotp.user_id == user_id, AccessTotp.confirmed_at.is_(None))
                session.execute(begun)
                session.add(row)
        except IntegrityError:
            raise WrongState("second factor: there is one; turn it off first") from None
        return SetUp(key, totp.uri_of(key, name))

    def begun(self, user_id: int, name: str) -> SetUp:
        """The key that waits to be confirmed, to be shown once more. Raises WrongState."""
        key = self._cipher.decrypt(self._begun_key(user_id), place=place_of(user_id))
        return SetUp(key, totp.uri_of(key, name))

    def _begun_key(self, user_id: int) -> str:
        with self._database.reading() as session:
            row = session.get(AccessTotp, user_id)
            if row is None or row.confirmed_at is not None:
                raise WrongState("second factor: none is being set up; begin anew")
            return row.sealed_key

    def confirm(self, user_id: int, name: str, typed: str) -> list[str]:
        """Turn the begun factor on by a first code of it; answers the recovery codes, which are kept nowhere.

        Raises:
            InvalidRequest: it is not the app's code. WrongState: nothing was begun.
        """
        sealed_key, code = self._begun_key(user_id), totp.read_code(typed)
        key = self._cipher.decrypt(sealed_key, place=place_of(user_id))
        step = totp.matching_step(key, code, time.time()) if code else None
        if step is None:
            raise InvalidRequest("code: this is not the app's present code; is the phone's clock right?")
        recorded = self._log.record("user.second_factor_on", actor=name, user=name, is_told_once=True)
        with recorded, self._database.session() as session:
            # The key of the app that made the code, and not one that another window has begun meanwhile.
            same = (AccessTotp.sealed_key == sealed_key, AccessTotp.confirmed_at.is_(None))
            begun = update(AccessTotp).where(AccessTotp.user_id == user_id, *same)
            row = session.execute(begun.values(confirmed_at=utc_now(), last_step=step).returning(AccessTotp.user_id))
            if not row.all():
                raise WrongState("second factor: another window began or ended its set-up a moment ago")
            # With it, so that nobody's factor is on without them.
            return _write_codes(session, user_id)

    def new_recovery_codes(self, user_id: int, name: str) -> list[str]:
        """New recovery codes; those from before are void. Raises WrongState."""
        if self.of(user_id) is None:
            raise WrongState("second factor: it is off")
        recorded = self._log.record("user.recovery_codes_made", actor=name, user=name, is_told_once=True)
        with recorded, self._database.session() as session:
            return _write_codes(session, user_id)

    def accept(self, user_id: int, typed: str) -> Literal["code", "recovery code"] | None:
        """What was typed, if it is a code that was never accepted; from now on it is none."""
        code = totp.read_code(typed)
        if code is not None:
            return "code" if self._accept_code(user_id, code) else None
        return "recovery code" if self._accept_recovery_code(user_id, typed) else None

    def turn_off(self, user_id: int, name: str) -> None:
        """Turn one's own factor off."""
        if self._settings.owners_need_second_factor and self._is_owner(user_id):
            raise WrongState("second factor: owners need one here; an owner can reset yours, and you set up another")
        with self._log.record("user.second_factor_off", actor=name, user=name):
            self._remove(user_id)

    def reset(self, by: Operator, name: str) -> None:
        """Take a user's factor away, for who has lost it. Raises UnknownUser; WrongState where there is none."""
        require_to_administer(by)
        user = self._users.named(name)
        with self._log.record("user.second_factor_reset", actor=by.name, user=user.name):
            if not self._remove(user.id):
                raise WrongState(f"second factor: {user.name} has none")

    def _is_owner(self, user_id: int) -> bool:
        user = self._users.by_id(user_id)
        return user is not None and user.role == "OWNER"

    def _accept_code(self, user_id: int, code: str) -> bool:
        with self._database.reading() as session:
            row = session.get(AccessTotp, user_id)
            sealed_key = None if row is None or row.confirmed_at is None else row.sealed_key
        if sealed_key is None:
            return False
        step = totp.matching_step(self._cipher.decrypt(sealed_key, place=place_of(user_id)), code, time.time())
        if step is None:
            return False
        unused = or_(AccessTotp.last_step.is_(None), AccessTotp.last_step < step)
        with self._database.session() as session:
            accepting = update(AccessTotp).where(AccessTotp.user_id == user_id, unused).values(last_step=step)
            return bool(session.execute(accepting.returning(AccessTotp.user_id)).all())

    def _accept_recovery_code(self, user_id: int, typed: str) -> bool:
        using = update(AccessRecoveryCode).where(
            AccessRecoveryCode.user_id == user_id,
            AccessRecoveryCode.code_hash == _hash(user_id, typed),
            AccessRecoveryCode.used_at.is_(None),
        )
        with self._database.session() as session:
            return bool(session.execute(using.values(used_at=utc_now()).returning(AccessRecoveryCode.id)).all())

    def _remove(self, user_id: int) -> bool:
        with self._database.session() as session:
            session.execute(delete(AccessRecoveryCode).where(AccessRecoveryCode.user_id == user_id))
            gone = delete(AccessTotp).where(AccessTotp.user_id == user_id).returning(AccessTotp.user_id)
            return bool(session.execute(gone).all())


def place_of(user_id: int) -> str:
    """What a sealed key is bound to: another user's row does not open it."""
    return f"access_totp {user_id}"


def _write_codes(session: SqlSession, user_id: int) -> list[str]:
    codes = [_new_recovery_code() for _ in range(RECOVERY_CODE_COUNT)]
    session.execute(delete(AccessRecoveryCode).where(AccessRecoveryCode.user_id == user_id))
    session.add_all(AccessRecoveryCode(user_id=user_id, code_hash=_hash(user_id, code)) for code in codes)
    return codes


def _new_recovery_code() -> str:
    code = base64.b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode()
    return "-".join(code[at : at + _GROUP] for at in range(0, len(code), _GROUP))


def _hash(user_id: int, typed: str) -> str:
    code = "".join(letter for letter in typed.upper() if letter.isalnum())
    return hashlib.sha256(f"{user_id}:{code}".encode("utf-8", "replace")).hexdigest()
