"""Every mail that is accepted can be composed, and every sender that settings take can send it."""

from __future__ import annotations

import email
import email.policy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from teknav_ops.errors import InvalidPayload
from teknav_ops.payloads import codec
from teknav_ops.payloads.email_send import SendEmail
from teknav_ops.settings import Settings
from tests.properties.payloads import PAYLOADS, examples
from tests.support import strategies as odd
from workers.services.mail_message import compose

MAIL = PAYLOADS["email:send", "send-email"]
SENDER = "TekNav <noreply@teknav.example>"


def sent(job: Any, sender: str = SENDER) -> Any:
    message = compose(job, sender=sender, message_id="<1@teknav.example>")
    return email.message_from_bytes(message.as_bytes(), policy=email.policy.default)


@examples(150)
@given(field=st.sampled_from(["subject", "text", "html", "to", "reply_to"]), value=odd.texts)
def test_an_accepted_mail_can_be_composed(field: str, value: str) -> None:
    try:
        job = codec.validate(SendEmail, {**MAIL, field: value + "{{link}}" if field == "text" else value}, where="mail")
    except InvalidPayload as error:
        assert field in str(error)
        return
    read = sent(job)
    assert len(read.get_all("Subject")) == len(read.get_all("To")) == 1
    if field == "subject":
        assert read["Subject"].split() == value.split()


@pytest.mark.parametrize("sign", ["\n", "\r", "\0", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"])
def test_a_subject_is_one_line(sign: str) -> None:
    with pytest.raises(InvalidPayload, match="subject") as caught:
        codec.validate(SendEmail, {**MAIL, "subject": f"a{sign}b"}, where="mail")
    assert [path for path, _ in caught.value.fields] == ["subject"]


@pytest.mark.parametrize("field", ["to", "reply_to"])
def test_an_address_that_mail_servers_cannot_take_is_refused(field: str) -> None:
    with pytest.raises(InvalidPayload, match="before the @ must be ASCII") as caught:
        codec.validate(SendEmail, {**MAIL, field: "کاربر@example.com"}, where="mail")
    assert [path for path, _ in caught.value.fields] == [field]


SENDERS = st.builds(
    lambda name, quote, address: f"{quote}{name}{quote} <{address}>", odd.texts, st.sampled_from(["", '"']),
    st.sampled_from(["a@b.example", "a@b", "a", "", "a b@c.example", "سلام@b.example", "a@نمونه.example"]) | odd.texts,
)  # fmt: skip


@examples(100)
@given(sender=SENDERS | odd.texts)
def test_a_sender_that_settings_take_can_send(sender: str) -> None:
    try:
        settings = Settings(mail_from=sender)
    except ValidationError as error:
        assert [item["loc"] for item in error.errors()] == [("mail_from",)]
        return
    job = codec.validate(SendEmail, MAIL, where="mail")
    read = sent(job, settings.mail_from)
    assert len(read["From"].addresses) == 1 and read["From"].addresses[0].domain


@pytest.mark.parametrize(
    "sender",
    ["TekNav, Inc <a@b.example>", "a@b.example, c@d.example", "TekNav", "", "TekNav <a@>", "a\nb <a@b.example>",
     "x <ناشناس@b.example>", "x <a@b@c.example>", "half \ud800 <a@b.example>"],
)  # fmt: skip
def test_a_sender_that_could_send_nothing_is_refused(sender: str) -> None:
    with pytest.raises(ValidationError, match="mail_from"):
        Settings(mail_from=sender)


@pytest.mark.parametrize(
    "sender", [SENDER, "a@b.example", '"TekNav, Inc" <a@b.example>', "تک‌نو <noreply@teknav.example>"]
)
def test_a_sender_in_any_script_is_taken(sender: str) -> None:
    assert Settings(mail_from=sender).mail_from == sender
