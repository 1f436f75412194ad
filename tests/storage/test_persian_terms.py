"""What readers find whichever way they write it: plurals, ezafe, hamza, compounds.

The pairs follow the spelling rules of the Academy of Persian Language and Literature («دستور خط فارسی», on ها, on the
ezafe behind a silent ه, on the seats of the hamza, on compounds), each beside the other spellings that are in use.
"""

from __future__ import annotations

import pytest

from teknav_ops.storage.database import Database
from teknav_ops.storage.persian_terms import asked_terms, index_text, stem
from teknav_ops.storage.search import put_document, search

#: Every spelling of a line finds each other one.
SAME = {
    "plural": [
        "کتاب",
        "کتاب‌ها",
        "کتاب ها",
        "کتابها",
        "کتاب‌های",
        "کتاب های",
        "کتابهای",
        "کتاب‌هایی",
        "کتاب‌هایش",
        "كتاب‌هاي",
    ],
    "plural of a word in ه": ["نامه", "نامه‌ها", "نامه ها", "نامه‌های"],
    "plural in ان": ["نویسنده", "نویسندگان", "نویسنده‌ها"],
    "plural in یان": ["دانشجو", "دانشجویان", "دانشجوها"],
    "plural in ات": ["تغییر", "تغییرات", "تغییرها"],
    "ezafe behind ه": ["خانه", "خانهٔ", "خانۀ", "خانه‌ی", "خانه ی"],
    "ezafe behind ا": ["دنیا", "دنیای"],
    "indefinite": ["خانه", "خانه‌ای", "خانه ای"],
    "comparative": ["بزرگ", "بزرگ‌تر", "بزرگ تر", "بزرگ‌ترین", "بزرگ ترین", "بزرگترین"],
    "hamza on ئو": ["مسئول", "مسؤول", "مسوول", "مسيول"],
    "hamza in سؤال": ["سؤال", "سوال", "سئوال", "سؤال‌ها"],
    "hamza in مسئله": ["مسئله", "مسأله", "مساله", "مسئلهٔ"],
    "hamza in هیئت": ["هیئت", "هیأت", "هیات"],
    "hamza in مؤسسه": ["مؤسسه", "موسسه"],
    "hamza in رئیس": ["رئیس", "رییس"],
    "hamza at the end": ["جزء", "جز"],
    "hamza in پائیز": ["پائیز", "پاییز"],
    "compound": ["نیم‌فاصله", "نیم فاصله"],
    "compound with a plural": ["کتاب‌خانه", "کتاب‌خانه‌ها", "کتاب‌خانه‌های", "کتابخانه"],
    "verb": ["می‌شود", "میشود", "می شود"],
    "hyphen": ["e-mail", "email", "E‑mail"],
    "hyphen between words": ["dead-letter", "dead letter"],
}
DIFFERENT = [
    ("تنها", "تن"), ("گروگان", "گروه"), ("رأی", "را"), ("شیر", "شور"), ("دفتر", "دف"), ("بها", "ب"),
    ("e-mail", "mailing"), ("کتاب‌های", "کتابخانه"),
]  # fmt: skip


@pytest.mark.parametrize("name", SAME)
@pytest.mark.each_database
def test_each_spelling_finds_each_other(database: Database, name: str) -> None:
    spellings = SAME[name]
    with database.session() as session:
        for number, spelling in enumerate(spellings, 1):
            put_document(
                session, article_id=number, language="fa", title=f"متن {number}", body=f"پیش {spelling} پس.", version=1,
                job_id="j",
            )  # fmt: skip

    for query in spellings:
        hits = search(database, query, limit=50)
        missing = [spellings[n - 1] for n in {*range(1, len(spellings) + 1)} - {hit.article_id for hit in hits}]
        assert not missing, f"{query} does not find {missing}"
        assert all(hit.highlights for hit in hits), [hit.snippet for hit in hits if not hit.highlights]


@pytest.mark.parametrize(("query", "other"), DIFFERENT)
def test_a_word_that_only_looks_alike_is_another(query: str, other: str) -> None:
    terms = set(index_text(f"پیش {other} پس").split())
    assert not any(set(form) <= terms for alternatives in asked_terms(query) for form in alternatives)


def test_the_beginning_of_the_last_word_is_enough(database: Database) -> None:
    with database.session() as session:
        put_document(
            session, article_id=1, language="fa", title="ت", body="کتاب‌خانه‌های بزرگ ذخیره", version=1, job_id="j"
        )
    for query in ("کتابخ", "بزرگ ذخی", "کتاب"):
        assert [hit.article_id for hit in search(database, query)] == [1], query


@pytest.mark.parametrize("word", ["", "و", "ها", "ات", "redis", "۱۲", "هاها"])
def test_a_stem_is_never_empty_where_there_was_a_word(word: str) -> None:
    assert bool(stem(word)) == bool(word)
