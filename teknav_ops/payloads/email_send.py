"""email:send: mail to one recipient."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import EmailStr, Field, HttpUrl, SecretStr, field_validator, model_validator

from teknav_ops.one_line import is_one_line
from teknav_ops.payloads.base import Payload


class SendEmail(Payload):
    """Deliver one mail.

    `secrets` are values such as sign-in links: `{{name}}` in `text` and `html` is replaced at sending,
    and the value is stored nowhere in clear.
    """

    to: EmailStr
    subject: Annotated[str, Field(min_length=1, max_length=300)]
    text: Annotated[str, Field(min_length=1)]
    html: str | None = None
    language: Literal["fa", "en"] = "en"
    reply_to: EmailStr | None = None
    unsubscribe_url: HttpUrl | None = None
    secrets: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,40}$")], SecretStr] = Field(default_factory=dict)

    @field_validator("subject")
    @classmethod
    def _one_line(cls, subject: str) -> str:
        if not is_one_line(subject):
            raise ValueError("must be one line: line breaks and control characters could add mail headers")
        return subject

    @field_validator("to", "reply_to")
    @classmethod
    def _can_be_delivered(cls, address: str | None) -> str | None:
        if address is not None and not address.rpartition("@")[0].isascii():
            raise ValueError("the part before the @ must be ASCII: few mail servers take anything else")
        return address

    @model_validator(mode="after")
    def _secrets_are_used(self) -> Self:
        unused = [name for name in self.secrets if "{{" + name + "}}" not in self.text + (self.html or "")]
        if unused:
            raise ValueError(f"secrets never used in text or html: {', '.join(unused)}")
        return self
