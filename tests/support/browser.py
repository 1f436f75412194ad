"""A real Chromium, and visitors who notice whatever goes wrong in it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect, sync_playwright

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    # No process in reserve for the next page: each page would start two.
    "--renderer-process-limit=1",
)  # fmt: skip

_WINDOW: Final[ViewportSize] = {"width": 1280, "height": 900}

#: What a page must show may take this long, on a machine that does much else.
expect.set_options(timeout=45_000)


def find_browser() -> str:
    """The browser on this machine: TEKNAV_TEST_BROWSER, or Chromium or Chrome on PATH.

    Debian's `chromium-headless-shell` draws the same pages with the same engine for half the CPU: no windows.
    """
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = os.environ.get("TEKNAV_TEST_BROWSER") or next(filter(None, map(shutil.which, names)), None)
    assert found, "no Chromium or Chrome is installed; `make test` installs Debian's where it can"
    return found


class _Chromium:
    """The one Chromium of this process, started when the first test asks for it."""

    def __init__(self) -> None:
        self._playwright = sync_playwright().start()
        #: Playwright leaves its event loop marked as running, and then no other could run in this thread.
        self.loop = asyncio.get_running_loop()
        # With a profile on disk: only what opens there keeps the code of pages compiled.
        self.lasting = self._playwright.chromium.launch_persistent_context(
            "", executable_path=find_browser(), args=list(FLAGS), viewport=_WINDOW
        )
        assert self.lasting.browser is not None
        self.browser = self.lasting.browser

    def stop(self) -> None:
        with _running(self.loop), contextlib.suppress(Exception):
            self.browser.close()
        with _running(self.loop):
            self._playwright.stop()


_STARTED: list[_Chromium] = []


@contextmanager
def shared_chromium() -> Iterator[Browser]:
    """The process's browser, with all contexts that others have opened in it; use it only inside the block."""
    if not _STARTED:
        _STARTED.append(_Chromium())
        asyncio._set_running_loop(None)
    with _running(_STARTED[0].loop):
        yield _STARTED[0].browser


def lasting_context() -> BrowserContext:
    """The one context of the process's browser that keeps compiled code; for one person, inside `shared_chromium`."""
    return _STARTED[0].lasting


@contextmanager
def chromium() -> Iterator[Browser]:
    """The process's browser; contexts that are opened in the block end with it."""
    with shared_chromium() as browser:
        earlier = list(browser.contexts)
        yield browser
        for context in browser.contexts:
            if context not in earlier:
                context.close()


def stop_chromium() -> None:
    """End the process's browser, if it has one."""
    while _STARTED:
        _STARTED.pop().stop()


@contextmanager
def _running(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    outer = asyncio._get_running_loop()
    asyncio._set_running_loop(loop)
    try:
        yield
    finally:
        asyncio._set_running_loop(outer)


class Visitor:
    """One person's browser window. `troubles` lists console errors, failed requests and requests to other hosts."""

    def __init__(self, browser: Browser, url: str, *, context: BrowserContext | None = None, **options: Any) -> None:
        self.url = url
        self._is_guest = context is not None
        self.context = context or browser.new_context(**{"viewport": _WINDOW, **options})
        self._earlier_pages = list(self.context.pages)
        self.troubles: list[str] = []
        self.page = self.new_page()

    def new_page(self) -> Page:
        page = self.context.new_page()
        page.set_default_timeout(45_000)
        page.on("console", lambda message: self._note(message.type, message.text))
        page.on("pageerror", lambda error: self.troubles.append(f"page error: {error}"))
        page.on("request", self._look)
        page.on("response", lambda answer: self._note_status(answer.status, answer.url))
        return page

    def _note(self, kind: str, text: str) -> None:
        if kind == "error":
            self.troubles.append(f"console: {text}")

    def _note_status(self, status: int, url: str) -> None:
        if status >= 400:
            self.troubles.append(f"{status} {url}")

    def _look(self, request: Any) -> None:
        if urlsplit(request.url).netloc != urlsplit(self.url).netloc and not request.url.startswith(("data:", "blob:")):
            self.troubles.append(f"other host: {request.url}")

    def add_cookies(self, cookies: Mapping[str, str]) -> None:
        self.context.add_cookies([{"name": name, "value": value, "url": self.url} for name, value in cookies.items()])

    def share_context(self) -> BrowserContext:
        """The context, which from now on stays when this window is closed."""
        self._is_guest = True
        return self.context

    def sign_in(self, name: str, password: str) -> None:
        self.page.goto(f"{self.url}/sign-in")
        self.page.fill("[name=name]", name)
        self.page.fill("[name=password]", password)
        self.page.click("button[type=submit], form button")
        self.page.wait_for_load_state()

    def open(self, path: str) -> Page:
        self.page.goto(self.url + path)
        self.page.wait_for_selector("main h1, main article")
        return self.page

    def close(self) -> None:
        """Close the window and what it opened. A context that was given stays, without what its pages have kept."""
        if not self._is_guest:
            self.context.close()
            return
        for page in set(self.context.pages).difference(self._earlier_pages):
            with contextlib.suppress(Exception):
                page.evaluate("try { localStorage.clear(); sessionStorage.clear() } catch {}")
            page.close()
