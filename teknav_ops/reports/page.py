"""A report's page: what stands around the notebook's words, tables and charts. Needs nothing from elsewhere.

No script of a notebook's output may run: the policy names our two scripts by what they contain.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from teknav_ops.reports.limits import written
from teknav_ops.reports.runs import Number, RunMeta

#: From a run's folder to the shared scripts.
_ASSETS: Final = "../../assets/"
_INDEX: Final = "../../index.html"
_ASSET_TAG: Final = re.compile(r'<script src="\.\./\.\./assets/(plotly-[\w.-]+\.min\.js)"></script>')
WORDS: Final = {
    "ok": "ok", "failed": "failed", "limit": "limit breached", "timeout": "took too long", "killed": "was ended",
    "running": "is running",
}  # fmt: skip


@functools.cache
def look(name: str) -> str:
    """A file of the pages' look."""
    return resources.files("teknav_ops.reports").joinpath("look", name).read_text("utf-8")


def hash_of(script: str) -> str:
    """How a policy names a script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def policy(*hashes: str) -> str:
    """What a report's page may do: run our scripts, and load nothing else."""
    named = " ".join(f"'{value}'" for value in hashes)
    scripts = f"{named} 'self' file:" if named else "'none'"
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src data: blob:; "
        "font-src data:; base-uri 'none'; form-action 'none'"
    )


def page(meta: RunMeta, body: str, figures: Sequence[Mapping[str, Any]], asset: tuple[str, str] | None) -> str:
    """The whole page. `asset` is the shared plotly.js, its file's name and hash; named only where it is needed."""
    script = look("draw.js")
    hashes = [*([asset[1]] if asset and figures else []), hash_of(script)]
    data = "\n".join(
        f'<script type="application/json" id="figure-{number}">{_embedded(figure)}</script>'
        for number, figure in enumerate(figures)
    )
    library = f'<script src="{_ASSETS}{asset[0]}"></script>' if asset and figures else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy(*hashes)}">
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">
<link rel="icon" href="data:,"><title>{escape(meta.title)} · {escape(meta.name)}</title>
<style>{look("page.css")}</style></head>
<body><main>
{_head(meta)}
{body}
{_foot(meta)}
</main>
{data}
{library}
<script>{script}</script>
</body></html>
"""


def inlined(text: str, assets: Path) -> str:
    """The page with plotly.js inside: one file, for mail, and for a sandbox that may fetch nothing. As it is where
    there is none.
    """
    found = _ASSET_TAG.search(text)
    if found is None or not (assets / found[1]).is_file():
        return text
    script = (assets / found[1]).read_text("utf-8")
    return text[: found.start()] + f"<script>{script}</script>" + text[found.end() :]


def policy_in(text: str) -> str:
    """The policy a page states."""
    found = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]+)">', text[:4_000])
    return found[1] if found else "default-src 'none'"


def moment(at: datetime, zone: str = "UTC") -> str:
    """A moment for people, in UTC and in the site's zone."""
    utc = f"{at:%Y-%m-%d %H:%M} UTC"
    return utc if zone == "UTC" else f"{utc} ({at.astimezone(ZoneInfo(zone)):%H:%M} {zone})"


def number_words(number: Number) -> str:
    """`12 jobs (at most 10)`."""
    words = f"{written(number.value)} {number.unit}".strip()
    limits = (("at most", number.at_most), ("at least", number.at_least))
    return words + "".join(f" ({word} {written(limit)})" for word, limit in limits if limit is not None)


def _head(meta: RunMeta) -> str:
    ended = meta.ended_at or meta.started_at
    facts = f"as of {moment(ended, meta.time_zone)} · took {meta.seconds:,.1f} s · run by {escape(meta.who)}"
    numbers = "".join(
        f'<li class="{"breached" if number.is_breached else ""}"><span class="soft" dir="auto">{escape(number.name)}'
        f"</span><b>{escape(written(number.value))}</b>"
        f'<span class="soft">{escape(number_words(number).removeprefix(written(number.value)).strip())}</span></li>'
        for number in meta.numbers
    )
    return "\n".join(
        [
            f'<nav class="crumbs"><a href="{_INDEX}">Reports</a> / {escape(meta.name)}</nav>',
            f'<h1 dir="auto">{escape(meta.title)}</h1>',
            f'<p class="soft"><span class="badge {meta.status}">{WORDS[meta.status]}</span> {facts}</p>',
            _notice(meta),
            f'<ul class="numbers">{numbers}</ul>' if numbers else "",
        ]
    )


def _notice(meta: RunMeta) -> str:
    if meta.status == "ok":
        return ""
    said = escape(meta.error or WORDS[meta.status])
    rest = "" if meta.status == "limit" else " What had been done until then is below."
    return f'<div class="notice {meta.status}" role="alert" dir="auto"><b>{said}</b>{rest}</div>'


def _foot(meta: RunMeta) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td dir="auto">{escape(str(value))}</td></tr>'
        for name, value in meta.parameters.items()
    )
    table = f"<table><tbody>{rows}</tbody></table>" if rows else "<p>None given: the notebook's own.</p>"
    files = '<a href="out.ipynb">notebook</a> · <a href="log.txt">log</a>'
    return (
        f'<details><summary>Parameters</summary>{table}</details><p class="soft">Run {escape(meta.run)} · {files}</p>'
    )


def _embedded(value: Any) -> str:
    """JSON that ends no script element."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c").replace("\u2028", "\\u2028")
