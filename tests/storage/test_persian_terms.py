"""What readers find whichever way they write it: plurals, ezafe, hamza, compounds.

The pairs follow the spelling rules of the Academy of Persian Language and Literature («دستور خط فارسی», on ها, on the
ezafe behind a silent ه, on the seats of the hamza, on compounds), each beside the other spellings that are in use.
What has the ending of a plural, and what only seems to have it, was chosen from the 28,000 most frequent Persian words
of the package wordfreq (3.1.1), of which all that the rules cut were looked through.
"""

from __future__ import annotations

import pytest

from teknav_ops.storage.database import Database
from teknav_ops.storage.persian import words
from teknav_ops.storage.persian_terms import asked_terms, index_text, stems
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
    "plural in ات of a word in ه": ["مقاله", "مقالات", "مقاله‌ها", "مقالاتی"],
    "plural in ات of a word in ت": ["خدمت", "خدمات", "خدمت‌ها"],
    "plural in یات": ["نظریه", "نظریات", "نظریه‌ها"],
    "short plural in ات": ["صفت", "صفات"],
    "plural in جات": ["میوه", "میوه‌جات", "میوه جات", "میوه‌ها"],
    "plural in جات, joined": ["سبزی", "سبزیجات", "سبزی‌جات"],
    "plural in جات of a word in ه": ["کارخانه", "کارخانجات", "کارخانه‌ها"],
    "plural of people": ["کاربر", "کاربران", "کاربرها", "کاربرانش", "کاربرانی"],
    "plural of trees": ["درخت", "درختان", "درخت‌ها"],
    "plural of a participle": ["مسئول", "مسئولان", "مسئولین", "مسؤولان", "مسوولین"],
    "plural of those present": ["حاضر", "حاضران", "حاضرین"],
    "plural of citizens": ["شهروند", "شهروندان"],
    "plural of a friend": ["دوست", "دوستان", "دوست‌ها"],
    "plural of a word in ی": ["ایرانی", "ایرانیان", "ایرانی‌ها"],
    "plural of a word in ا": ["آقا", "آقایان", "آقاها"],
    "plural in گان": ["ستاره", "ستارگان", "ستاره‌ها"],
    "plural of great people": ["بزرگ", "بزرگان"],
    "plural of a compound": ["دانش‌آموز", "دانش‌آموزان", "دانش آموزان", "دانشآموزان"],
    "written apart": ["لپ‌تاپ", "لپ تاپ", "لپتاپ"],
    "written apart with a plural": ["لپ‌تاپ‌ها", "لپ تاپ ها", "لپتاپ‌ها", "لپتاپها", "لپ تاپ‌های"],
    "written apart, of three letters": ["پیش‌بینی", "پیش بینی", "پیشبینی"],
    "written apart with a hyphen": ["e-mail", "email", "e mail", "E-Mail"],
    "e-mail in Persian": ["ایمیل", "ای‌میل", "ای میل", "ایمیل‌ها", "ايميل"],
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
DIFFERENT = {
    "تنها": "تن",
    "گروگان": "گروه",
    "رأی": "را",
    "شیر": "شور",
    "دفتر": "دف",
    "بها": "ب",
    "e-mail": "mailing",
    "کتاب‌های": "کتابخانه",
    "کاربر": "کار. بر",
    "درمان": "در مان",
    "کارت": "کار تیمی",
}
#: Whole words, whatever their ending: each is found as it is, and by nothing that is left without the ending.
WHOLE = words(
    "ایران تهران زمان جهان میدان سازمان ساختمان پایان جریان استان داستان تابستان افغانستان هندوستان خیابان زبان مهربان "
    "انسان عنوان حیوان فراوان درمان ایمان قرآن آسمان زندان دندان خاندان گلدان همدان اصفهان خراسان دیگران نگران باران "
    "بحران قهرمان مسلمان امتحان رایگان بازرگان ناوگان پادگان کهکشان درخشان خودشان کشورمان "
    "حیات نجات نبات ثبات اثبات عملیات ادبیات مالیات صادرات واردات ملاقات مجازات مطبوعات امارات شکلات مناجات سوغات "
    "ماشین واکسن واکسین میادین مضامین زمین بهترین چین نازنین"
)


def test_a_word_that_only_looks_like_a_plural_is_whole() -> None:
    assert {word: stems(word) for word in WHOLE if stems(word)} == {}


@pytest.mark.each_database
def test_each_spelling_finds_each_other(database: Database) -> None:
    articles = {
        (name, spelling): article_id
        for article_id, (name, spelling) in enumerate(((n, s) for n, spellings in SAME.items() for s in spellings), 1)
    }
    with database.session() as session:
        for (_, spelling), article_id in articles.items():
            body = f"پیش {spelling} پس."
            put_document(session, article_id=article_id, language="fa", title="متن", body=body, version=1, job_id="j")

    missing, unmarked = [], []
    for name, spellings in SAME.items():
        for query in spellings:
            found = {hit.article_id: hit for hit in search(database, query, limit=100)}
            missing += [(query, other) for other in spellings if articles[name, other] not in found]
            unmarked += [(query, hit.snippet) for hit in found.values() if not hit.highlights]
    assert missing == []
    assert unmarked == []


@pytest.mark.parametrize(("query", "other"), DIFFERENT.items())
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
    assert all(stems(word)) and bool(index_text(word)) == bool(word)
