"""The pages in a real Chromium: what a first load moves, how long loads take, and how soon an event is on the screen.

python -m benchmarks.pages [open pages]
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

from cryptography.fernet import Fernet
from playwright.sync_api import Browser, BrowserContext, Page

from teknav_ops.access.policy import Operator, Role
from tests.support.browser import chromium
from tests.support.folders import new_folder, remove_folder
from tests.support.redis_server import RedisServer
from tests.support.system import System
from tests.support.web import PASSWORD

PLACE = "/dashboard/owner/queues"
ROUNDS = 20
#: Notes the moment at which the button of otp:send changes its title.
_WATCH = """() => {
    const root = [...document.querySelectorAll('*')].find(node => node.shadowRoot).shadowRoot;
    window.seen = {};
    new MutationObserver(() => { for (const word of ['Pause', 'Resume']) {
        if (root.querySelector(`[title="${word} otp:send"]`)) window.seen[word] ??= Date.now();
        else delete window.seen[word];
    } }).observe(root, {subtree: true, childList: true, attributes: true});
}"""


def signed_in(browser: Browser, system: System) -> BrowserContext:
    """A browser window with a session."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    # Not through a page, which would load what the first load is to load.
    form: dict[str, str | float | bool] = {"name": "sara", "password": PASSWORD}
    answer = context.request.post(f"{system.url}/sign-in", form=form, max_redirects=0)
    assert answer.status == 303, answer.status
    return context


def load(context: BrowserContext, system: System) -> tuple[Page, float, int]:
    """Open the queues: the page, seconds until its table is there, and bytes over the wire."""
    page = context.new_page()
    moved: list[float] = []
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    session.on("Network.loadingFinished", lambda event: moved.append(event["encodedDataLength"]))
    begun = time.perf_counter()
    page.goto(system.url + PLACE)
    page.wait_for_selector("table[aria-label=Queues] tbody tr")
    return page, time.perf_counter() - begun, int(sum(moved))


def event_to_screen_ms(page: Page, system: System) -> list[float]:
    """From the moment an operator gives a command to the moment another's page shows it."""
    control = system.services.control(Operator("bench", Role.OWNER))
    page.evaluate(_WATCH)
    delays = []
    for turn in range(ROUNDS):
        word = "Resume" if turn % 2 == 0 else "Pause"
        page.evaluate("word => { delete window.seen[word]; }", word)
        begun_ms = time.time() * 1000
        (control.pause if word == "Resume" else control.resume)("otp:send")
        page.wait_for_function("word => window.seen[word]", arg=word)
        delays.append(page.evaluate("word => window.seen[word]", word) - begun_ms)
        time.sleep(0.5)
    return delays


def main(open_pages: int) -> None:
    """Print what was measured."""
    folder = new_folder()
    server = RedisServer(folder, "--appendonly", "no").start()
    system = System(folder, server, Fernet.generate_key().decode())
    try:
        system.add_user("sara")
        system.start_scheduler()
        system.start_web()
        with chromium() as browser:
            _measure(browser, system, open_pages)
    finally:
        system.close()
        server.stop()
        remove_folder(folder)


def _measure(browser: Browser, system: System, open_pages: int) -> None:
    context = signed_in(browser, system)
    page, cold_seconds, cold_bytes = load(context, system)
    warm = [load(context, system) for _ in range(5)]
    _say("first load", f"{cold_bytes / 1e6:.2f} MB, {cold_seconds:.2f} s")
    _say("later loads", f"{warm[-1][2] / 1e3:.0f} kB, {statistics.median(seconds for _, seconds, _ in warm):.2f} s")
    others: list[Any] = [signed_in(browser, system) for _ in range(2)]
    for number in range(open_pages - 6):
        load(others[number % 2], system)
    # The page that somebody looks at: a browser draws the others when it has time.
    page.bring_to_front()
    delays = sorted(event_to_screen_ms(page, system))
    quantiles = f"p50 {statistics.median(delays):.0f} ms, p95 {delays[int(0.95 * len(delays))]:.0f} ms"
    _say(f"event to screen, {open_pages} open pages", quantiles)


def _say(what: str, value: str) -> None:
    print(f"{what:<40} {value}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
