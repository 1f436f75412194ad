"""Passwords and names."""

from __future__ import annotations

import unicodedata

import pytest

from teknav_ops.access import passwords
from teknav_ops.access.passwords import MOST_CHARACTERS, check_strength, hash_password, is_outdated, verify
from teknav_ops.access.user_names import checked_name, name_key
from teknav_ops.errors import InvalidRequest
from tests.access.conftest import PASSWORD
from tests.support.cheap_passwords import REAL_HASHER


@pytest.fixture(autouse=True)
def _real_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The product's own parameters; other tests hash at the least cost."""
    monkeypatch.setattr(passwords, "_hasher", REAL_HASHER)
    passwords._nobodys_hash.cache_clear()


def test_a_hash_is_argon2id_salted_and_verifies_only_its_password() -> None:
    first, second = hash_password(PASSWORD), hash_password(PASSWORD)

    assert first.startswith("$argon2id$") and first != second
    assert verify(PASSWORD, first)
    assert not verify(PASSWORD + "x", first)
    assert not verify(PASSWORD, None)
    assert not verify(PASSWORD, "no hash at all")
    assert not verify("nobody has this password", None)
    assert not verify("a" * (MOST_CHARACTERS + 1), first)


def test_the_same_password_typed_on_another_keyboard_is_the_same() -> None:
    composed = unicodedata.normalize("NFC", "café crème à la carte")

    assert verify(unicodedata.normalize("NFD", composed), hash_password(composed))


def test_a_hash_of_weaker_parameters_is_outdated() -> None:
    from argon2 import PasswordHasher

    assert is_outdated(PasswordHasher(time_cost=1, memory_cost=8_192).hash(PASSWORD))
    assert not is_outdated(hash_password(PASSWORD))


def test_nobody_of_that_name_costs_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = passwords._hasher()
    monkeypatch.setattr(
        passwords, "_hasher", lambda: type("Counted", (), {
            "verify": lambda _, known, given: asked.append(known) or real.verify(known, given),
            "hash": lambda _, given: real.hash(given),
        })()
    )  # fmt: skip

    assert not verify(PASSWORD, None)
    assert len(asked) == 1 and asked[0].startswith("$argon2id$")
    assert asked[0].split("$")[:4] == hash_password(PASSWORD).split("$")[:4]


@pytest.mark.parametrize(
    ("password", "words"),
    [
        ("eleven char", "11 characters are too few"),
        ("", "0 characters are too few"),
        ("a" * 1_001, "longer than 1000"),
        ("saramahmoudisaramahmoudi", "user's name"),
        ("saramahmoudi123", "user's name"),
        ("abababababababab", "over and over"),
    ],
)
def test_a_weak_password_is_refused_with_its_reason(password: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match=f"password: .*{words}"):
        check_strength(password, "saramahmoudi")


@pytest.mark.parametrize(
    "password",
    [
        "باران آمد و کوچه خیس شد",
        "twelve chars",
        ("a long text of words " * 50)[:MOST_CHARACTERS],
        "five leaves: aaaaaaa",
        "sabsacsadsaeaa bdcea",
        "saramahmoudi and her cat",
        "saramahmoudi is here",
    ],
)
def test_a_password_at_the_edge_of_each_rule_is_good(password: str) -> None:
    check_strength(password, "saramahmoudi")


@pytest.mark.parametrize("name", ["a", "۷", "ß" * 100, "o.p-q_r@s+t u", "e\u0301"])
def test_a_name_at_the_edge_of_each_rule_is_kept(name: str) -> None:
    assert checked_name(name) == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize(
    "name", ["", "   ", "a\nb", "a<b>", "a\u202eb", "x" * 101, "token:ci", "a/b", ". -", "..", "-x", "_x"]
)
def test_a_name_that_could_deceive_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="name: "):
        checked_name(name)


def test_names_are_compared_without_case_width_and_joiners() -> None:
    assert name_key("Sara") == name_key("ｓａｒａ") == name_key(" SARA ")
    assert name_key("می\u200cرزا") == name_key("میرزا")
    assert checked_name(" علی\u200cرضا ") == "علی\u200cرضا"


@pytest.mark.parametrize(
    "password",
    [
        "1q2w3e4r5t6y",
        "qwerty123456",
        "Password2026!",
        "P@ssw0rd-2026",
        "sunshine!!!!!",
        "qwertyqwerty",
        "20262027-2028",
        "DRAGON DRAGON DRAGON",
        "finalfantasy",
        "!!letmein1234",
    ],
)
def test_a_password_that_everybody_tries_first_is_refused_however_it_is_dressed(password: str) -> None:
    with pytest.raises(InvalidRequest, match=r"everybody tries first|same few"):
        check_strength(password, "sara")


@pytest.mark.parametrize(
    "password", [PASSWORD, "three dragons of password hill", "رمز من برای همین‌جا", "vXq7-mmPe-22zR"]
)
def test_a_password_of_several_words_or_of_chance_is_taken(password: str) -> None:
    check_strength(password, "sara")
