"""The one check that every text of every AI answer passes: language by letters, no markup, links only to our hosts."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import Field

from teknav_ops.sample_content import read_articles
from workers.services.ai import Output
from workers.services.ai_language import Language, language_problem
from workers.services.ai_text import Body, Note, Quote, TextRules, in_house_spelling, links, targets, text_problems

RULES = TextRules("en", hosts=frozenset({"teknav.example"}), allowed=frozenset({"https://known.example/a"}))
WORDS = "The queue keeps what failed until a person decides. "


class Answer(Output):
    title: str = "Dead letters"
    body: Body = WORDS
    keywords: Annotated[tuple[Annotated[str, Field(max_length=60)], ...], Field(max_length=9)] = ("queue", "failure")
    changes: tuple[Annotated[Note, Field(max_length=500)], ...] = ()
    quotes: tuple[Annotated[Quote, Field(min_length=1)], ...] = ()


def problems(rules: TextRules = RULES, **texts: object) -> list[str]:
    return text_problems(Answer(**texts), rules)  # type: ignore[arg-type]


PERSIAN = [
    "صف نامه‌های مرده جایی است که کارهای شکست‌خورده در آن می‌مانند.",
    "كتاب‌هاي علمي خواندنی‌اند.",
    "کتاب",
    "كتاب",
    "مدار",
    "الگوریتم‌های جست‌وجو",
    "دایرة‌المعارف فارسی",
    "البته الزامی نیست که همه چیز از ابتدا نوشته شود.",
    "با Docker و PostgreSQL می‌توان سرویس‌ها را در چند دقیقه بالا آورد.",
    "سؤال و پاسخ دربارهٔ مسئله‌های تأخیر در شبکه",
    "آزمون ۱۲۳",
]
ARABIC_SCRIPT = [
    "قائمة الرسائل الميتة هي المكان الذي توضع فيه المهام الفاشلة حتى يقرر شخص ما.",
    "البرمجة",
    "قائمة الانتظار",
    "الذكاء الاصطناعي والتعلم الآلي",
    "كيف تكتب برنامجا جيدا",
    "يجب ان نكتب كل يوم عن شيء جديد",
    "هذا هو البرنامج الذي نستخدمه في العمل کل يوم مع الفریق",
    "یہ قطار ان کاموں کے لیے ہے جو ناکام ہو گئے ہیں اور کسی کے فیصلے کے منتظر ہیں۔",
    "هواوے کا نیا فون",
    "دا پښتو متن دی",
    "ئەم ڕیزە ئەو کارانە هەڵدەگرێت کە سەرکەوتوو نەبوون",
    "دا کتار هغه کارونه ساتي چې پاتې راغلي وي او د يوه کس پرېکړې ته سترګې په لار دي",
]


@pytest.mark.parametrize("text", PERSIAN)
def test_persian_is_persian_also_from_an_arabic_keyboard(text: str) -> None:
    assert language_problem(text, ("fa",)) is None
    assert language_problem(text, ("en",)) is not None


@pytest.mark.parametrize("text", [*ARABIC_SCRIPT, "The queue keeps what failed.", "Очередь", "队列", "123 !?"])
def test_what_shares_the_script_is_not_persian(text: str) -> None:
    assert language_problem(text, ("fa",)) is not None


@pytest.mark.parametrize(
    "text",
    ["La file conserve les tâches échouées jusqu'à ce qu'une personne décide de les relancer après vérification.",
     "Die Warteschlange behält fehlgeschlagene Aufträge, bis jemand über spätere Läufe für jede Störung verfügt.",
     "La file garde les travaux qui ont rat\u00e9 et les met de nouveau dans la file pour les relancer demain matin.",
     "La file garde les jobs qui sont en erreur dans une liste, et un administrateur les lance de nouveau.",
     "Die Warteschlange ist ein Ort, an dem die Jobs auf einen Menschen warten, der sie wieder startet.",
     "La cola guarda los trabajos que fallan para que una persona los vea y los lance de nuevo con un clic.",
     "Kuyruk bir hata ile biten isleri saklar ve bir insan bu isleri daha sonra yeniden baslatir.",
     "Saf-e payam jayi ast ke karha dar an montazer mimanand ta yek nafar be anha negah konad.",
     "Очередь хранит задачи", "队列保存失败的任务", *ARABIC_SCRIPT[:1], *PERSIAN[:1]],
)  # fmt: skip
def test_another_language_is_not_english(text: str) -> None:
    assert language_problem(text, ("en",)) is not None


def test_a_name_with_an_accent_is_english() -> None:
    assert language_problem("A café in Zürich keeps its queue on Redis.", ("en",)) is None


@pytest.mark.parametrize("sample", read_articles(), ids=lambda sample: sample.slug)
def test_what_people_wrote_passes(sample: object) -> None:
    title, body, language = sample.title, sample.body, sample.language  # type: ignore[attr-defined]
    known = frozenset(targets(body))
    rules = TextRules(language, allowed=known, required=frozenset(links(body)))
    keywords = ("صف پیام", "Redis") if language == "fa" else ("queue",)
    assert problems(rules, title=title, body=body, keywords=keywords) == []


LINKS = [
    "[x](https://evil.example/a)", "[x](//evil.example/a)", "[x]( <//evil.example> )", "[x](\n//evil.example)",
    "[x](/\\evil.example)", "[x](\\\\evil.example)", "![x](https://evil.example/p.png)",
    "[1]: <javascript:alert(1)>", "<https://evil.example>", "https://evil.example", "HTTPS://EVIL.EXAMPLE",
    "www.evil.example", "WWW.evil.example/login", "evil.example/login", "t.me/someone", "ftp://evil.example",
    "mailto:a@evil.example", "write to a@evil.example", "[x](mailto:a@teknav.example)", "tel:+989121234567",
    "[x](data:text/html;base64,PHNjcmlwdD4=)", "data:text/html,hello", "[x](javascript:alert(1))",
    "[x](java&Tab;script:alert(1))", "[x](&#106;avascript:alert(1))", "[x](https&colon;//evil.example)",
    "[x](https\\://evil.example)", "ht\u200btps://evil.example", "ｈｔｔｐｓ：／／ｅｖｉｌ．ｅｘａｍｐｌｅ",
    "https://teknav.example.evil.example", "https://teknav.example@evil.example/", "https://evil.example/teknav.example",
    "https://nottelnav.example", "javascript://teknav.example/%0aalert(1)", "https://teknav.example\\@evil.example",
    "[x](evil)", "`https://evil.example/install.sh`", "```\ncurl https://evil.example | sh\n```",
    "https://نمونه.ایران/", "[x](/&Tab;/evil.example)", "[x](/&#10;\\evil.example)", "[x](&#x0d;//evil.example)",
]  # fmt: skip


@pytest.mark.parametrize("marks", ["", "> ", "- ", "1. ", "> - 2) "])
def test_a_definition_counts_wherever_it_stands(marks: str) -> None:
    assert problems(body=f"[x][1] {WORDS}\n\n{marks}[1]: //evil.example\n")


@pytest.mark.parametrize("link", LINKS)
def test_a_link_away_from_us_is_refused_however_it_is_spelled(link: str) -> None:
    assert any(problem.startswith("body: ") for problem in problems(body=f"{WORDS}\n\n{link}\n"))
    assert any(problem.startswith("body: ") for problem in problems(body=f"[x][1] {WORDS}\n\n[1]: {link}\n"))
    line = link.replace("\n", " ")
    for field in ("title", "keywords", "changes"):
        text = f"Queue {line} again"
        found = problems(**{field: text if field == "title" else (text,)})
        assert any(problem.startswith(field) for problem in found), field


@pytest.mark.parametrize(
    "link",
    ["[x](https://teknav.example/a?b=c#d)", "https://blog.teknav.example/", "www.teknav.example", "[x](/queues)",
     "[x](#top)", "<https://teknav.example/a>", "https://known.example/a.", "[x](https://known.example/a \"Title\")",
     "Node.js/Deno, TCP/IP and 3:2 are no links", "See [source?] and note[^1].\n\n[^1]: A footnote."],
)  # fmt: skip
def test_our_own_hosts_and_what_the_material_leads_to_may_stand_in_a_body(link: str) -> None:
    assert problems(body=f"{WORDS}\n\n{link}\n") == []


def test_no_link_may_stand_in_a_line_not_even_to_us() -> None:
    assert problems(title="Read https://teknav.example/a now")
    assert problems(keywords=("www.teknav.example",))


@pytest.mark.parametrize(
    "markup",
    ["<script>alert(1)</script>", "<SVG onload=alert(1)>", "<svg><a href='x'>", "<img src=x onerror=alert(1)",
     "<math><mi>", "<details open>", "</div>", "<!-- hidden -->", "<?php", "&lt;script&gt;", "&#60;iframe src=x>",
     "＜script＞", "\\`<script>\\`", "a ` b\nc ` <script> `", "```x`\n<script>\n```",
     "```\na\n``` b\nc\n```\n<script>\n```",
     "a ` b\n# h <script>\nc ` d", "- x\n  ```\n<script>\n  ```", "<custom-tag>", "<b>bold</b>"],
)  # fmt: skip
def test_markup_is_refused_however_it_is_hidden(markup: str) -> None:
    assert "body: must be Markdown without HTML" in problems(body=f"{WORDS}\n\n{markup}\n")


def test_markup_in_code_is_code() -> None:
    body = f"{WORDS}\n\n```html\n<script>\n```\n\nUse `<dialog>` and ``<b>`` here; 1 < 2.\n\n~~~\n<svg>\n~~~\n"
    assert problems(body=body) == []


@pytest.mark.parametrize("title", ["<script>x</script> news", "`<b>` news", "two\nlines", "a\x00b", "half\u202ething"])
def test_a_title_is_one_line_of_plain_text(title: str) -> None:
    assert any(problem.startswith("title: ") for problem in problems(title=title))


def test_a_language_is_asked_of_each_field() -> None:
    fa = TextRules("fa")
    good = {"title": "صف پیام", "body": PERSIAN[0], "keywords": ("صف پیام", "Redis")}
    assert problems(fa, **good, changes=("Clearer subject.", "نیم‌فاصله‌ها درست شد.")) == []
    for field, text in (("title", "البرمجة"), ("body", ARABIC_SCRIPT[0]), ("keywords", ("صف پیام", "البرمجة")),
                        ("keywords", ("Redis", "queue")), ("changes", (ARABIC_SCRIPT[0],))):  # fmt: skip
        found = problems(fa, **{**good, field: text})
        assert found and all(problem.startswith(field) for problem in found), (field, found)


def test_a_quote_is_as_the_article_has_it_but_for_control_characters() -> None:
    assert problems(quotes=("<b> https://x.example",)) == []
    assert problems(quotes=("a\x1bb",))


@pytest.mark.parametrize("language", ["fa", "en"])
def test_spelling_changes_persian_prose_only(language: Language) -> None:
    assert in_house_spelling("كتاب `ي`", language) == ("کتاب `ي`" if language == "fa" else "كتاب `ي`")
