"""otp:send: one-time codes."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal, Self

from email_validator import EmailNotValidError, validate_email
from pydantic import Field, SecretStr, field_validator, model_validator

from teknav_ops.payloads.base import Moment, Payload

_CODE: Final = re.compile(r"[0-9]{4,10}")
_PHONE: Final = re.compile(r"\+[1-9][0-9]{6,14}")


class SendOtp(Payload):
    """Deliver a one-time code. Code and recipient are encrypted at rest."""

    channel: Literal["sms", "mail"]
    recipient: Annotated[SecretStr, Field(description="Phone number as +98…, or mail address.")]
    code: Annotated[SecretStr, Field(description="4 to 10 ASCII digits.")]
    purpose: Literal["sign-in", "sign-up", "change-password", "confirm-action"] = "sign-in"
    expires_at: Annotated[Moment, Field(description="With its time zone; afterwards the code is not sent.")]
    language: Literal["fa", "en"] = "fa"

    @field_validator("code")
    @classmethod
    def _is_code(cls, code: SecretStr) -> SecretStr:
        if not _CODE.fullmatch(code.get_secret_value()):
            raise ValueError("must be 4 to 10 ASCII digits")
        return code

    @model_validator(mode="after")
    def _recipient_fits_channel(self) -> Self:
        recipient = self.recipient.get_secret_value()
        if self.channel == "sms" and not _PHONE.fullmatch(recipient):
            raise ValueError("recipient: must be a phone number such as +989121234567")
        if self.channel == "mail":
            try:
                validate_email(recipient, check_deliverability=False, allow_smtputf8=False)
            except EmailNotValidError:
                # Its own words quote the address.
                raise ValueError("recipient: must be a mail address") from None
        return self
