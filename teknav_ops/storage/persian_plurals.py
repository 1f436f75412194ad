"""The plurals that Persian writes as one word: ان, یان, گان, ین of people and living things; ات, جات of things.

Cut by rule, with lists of what only looks so: «ایران», «زمان», «حیات» are no plurals. A short word in ان is one only
when it is listed, a longer one unless its ending belongs to the word, as in ستان, بان, دان, مان. Broken plurals («کتب»)
are not known.
"""

from __future__ import annotations

import re
from typing import Final


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


_IRREGULAR: Final = dict(
    pair.split(":")
    for pair in _listed(
        "زنان:زن نیاکان:نیا بزرگان:بزرگ بچگان:بچه شیعیان:شیعه نکات:نکته لغات:لغت صفات:صفت جهات:جهت ذرات:ذره غلات:غله "
        "ایات:ایه تجربیات:تجربه خصوصیات:خصوصیت"
    )
)
#: Words whose ending is their own, though the rules below would cut it and leave another word.
_WHOLE: Final = (
    _listed(
        "گروگان رایگان بازرگان همگان یگان ارگان گرگان مهرگان بیگان شایگان مژگان پادگان گلپایگان سمنگان ناوگان چوگان "
        "هرمزگان"
    )
    | _listed(
        "دیگران ابادان کامران شمیران حکمران مازندران زعفران بیکران قایقران کشتیران خاوران نیاوران شوکران بهاران "
        "خراسان اصفهان ناگهان هندوستان مسلمان خواهان سپاهان فراهان گروهان درجهان همچنان انچنان اینچنان اطمینان "
        "هراسان گریزان اویزان فروزان لرزان درخشان پریشان خروشان کهکشان اتشفشان امتحان ارمغان دامغان کماکان واتیکان "
        "بالکان اردکان استکان بابکان جنوبان فارسان اورهان نمایان بیپایان درمیان درجریان جولیان ماریان پرنیان برایان "
        "زندگانی سالیان پایان بنیان بامیان طاهریان زاهدان پردیسان بریتان گلستان"
    )
    | _listed(
        "حیات عملیات ادبیات مالیات صادرات واردات مجازات مطبوعات معلومات مقررات مختصات مهمات مثلثات امارات سادات "
        "ملاقات مناجات مراعات مکافات مساوات مبالات موازات مماشات مباهات شکلات دیپلمات کروات کربنات کارات شیلات عرفات "
        "دونات خیرات استات مدارات روبات سوغات تورات صلوات کاینات"
    )
    | _listed(
        "مارتین ماروین مرمرین مخملین داروین راستین جاستین کاظمین واکسین نازنین بالرین وازلین کاترین گاردین پارتین"
    )
)
_SHORT: Final = _listed("مرد پسر پدر یار شاه مرغ خوب چشم اسب شتر شیر دزد سخن طفل پیر کور")
#: Endings in ان that belong to the word, and the words in which they do not.
_OWN_ENDING: Final = re.compile("[تشمبدو]ان$")
_STILL_PLURAL: Final = re.compile(
    "(?:"
    "دوست|پرست|پوست|درخت|انگشت|زرتشت|پیشکسوت"
    "|کش|فروش|درویش|نقاش|پوش|اندیش|خویش|کوش|هوش"
    "|م..+م|امام|خانم|عالم|حاکم|ظالم|خادم|غلام"
    "|طلب|صاحب|کاسب|راهب|غریب|رقیب|ارباب|نایب|غایب|کاتب|خطیب|طبیب|ادیب"
    "|[مو]ند|فرزند|استاد|شاگرد|زاد|شاهد|شهید|مرید|متحد|مفسد|نامزد|جلاد"
    "|بانو|پیرو|رهرو|پیشرو|بازو|ابرو|زانو|هندو|جادو"
    "|م(?!.*(?:گرد|ست)ان).....*[تشبد]"
    ")ان$"
)
_ENDINGS_OF_PEOPLE: Final = (
    (re.compile("(..+ن?)دگان"), ("ده",)),
    (re.compile("(...+)گان"), ("ه",)),
    (re.compile("(..+)ویان"), ("و", "وی")),
    (re.compile("(..+)ایان"), ("ا",)),
)
#: Arabic participles, such as «مسئولین», «حاضرین»; «میادین» and its like are broken plurals, «میدونین» is a verb.
_PARTICIPLES: Final = re.compile("(?!م.ا.ین$|می|.*ترین$)(م...+|.ا..|فعال|داوطلب)ین$")
_THINGS: Final = re.compile("(...+?)(?:جات|ات)")
_OWNERS: Final = re.compile("(?<=....)(?:ی|م|ت|ش|مان|تان|شان)$")


def singulars(word: str) -> tuple[str, ...]:
    """What a comparable word may be the plural of, also with an ending behind («کاربرانش»); nothing if it is none."""
    found = _singulars(word)
    owned = "" if found or word in _WHOLE else _OWNERS.sub("", word)
    return _singulars(owned) if owned.endswith(("ان", "ات")) else found


def _singulars(word: str) -> tuple[str, ...]:
    if word in _IRREGULAR:
        return (_IRREGULAR[word],)
    if word in _WHOLE:
        return ()
    if word.endswith("ات"):
        return _of_things(word)
    if word.endswith("ین"):
        participle = _PARTICIPLES.match(word)
        return (participle[1],) if participle else ()
    return _of_people(word) if word.endswith("ان") else ()


def _of_things(word: str) -> tuple[str, ...]:
    """«تغییرات», «مقالات», «خدمات»: nobody sees whether ه or ت went."""
    if not (found := _THINGS.fullmatch(word)) or re.fullmatch("ا..ات", word):
        return ()
    return (found[1], f"{found[1]}ه", f"{found[1]}ت")


def _of_people(word: str) -> tuple[str, ...]:
    for ending, kept in _ENDINGS_OF_PEOPLE:
        if found := ending.fullmatch(word):
            return tuple(found[1] + end for end in kept)
    singular = word[:-2]
    if singular in _SHORT:
        return (singular,)
    if len(word) < 6 or (_OWN_ENDING.search(word) and not _STILL_PLURAL.search(word)):
        return ()
    return (singular,)
