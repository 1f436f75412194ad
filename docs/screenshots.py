"""Makes the pictures in docs/images from the running demo: `make screenshots`."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

import notebook_screenshots

from tests.support.browser import FLAGS, find_browser

IMAGES = Path(__file__).parent / "images"
TEKNAV = Path(sys.executable).parent / "teknav"
PASSWORD = "correct horse battery staple"
#: Name, address, and whether it is taken in the dark.
SHOTS = (
    ("queues", "queues", False),
    ("queues-dark", "queues", True),
    ("queue-metrics", "queues/webhooks:deliver?tab=metrics", False),
    ("dead-letters", "queues/webhooks:deliver/dlq", False),
    ("audit", "audit", False),
    ("workers", "workers", False),
    ("reports", "reports", False),
)


def main() -> None:
    """Start everything, let it work and fail for a while, and look at it."""
    folder = tempfile.mkdtemp(prefix="teknav-screenshots-")
    environment = {**os.environ, "TEKNAV_DATA_DIR": folder, "TEKNAV_OPERATOR": "sara", "COLUMNS": "200"}
    log = Path(folder) / "up.log"
    with log.open("wb") as output:
        up = subprocess.Popen([str(TEKNAV), "up"], env=environment, stdout=output, stderr=output)
    try:
        link = _first_owner_link(log)
        storm = [str(TEKNAV), "demo", "--shape", "storm", "--rate", "10", "--for", "90s"]
        subprocess.run(storm, env=environment, check=True, stdout=subprocess.DEVNULL)
        notebook_screenshots.main(Path(folder))
        _take(link)
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(90)


def _first_owner_link(log: Path) -> str:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = re.search(r"https?://\S+/sign-in/first/\S+", log.read_text(errors="replace"))
        if found:
            return found[0]
        time.sleep(0.5)
    raise SystemExit(f"no sign-in link in {log}")


def _take(link: str) -> None:
    base = link.partition("/sign-in/")[0]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=list(FLAGS))
        context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB")
        page = context.new_page()
        _become_owner(page, link)
        for name, place, is_dark in SHOTS:
            page.emulate_media(color_scheme="dark" if is_dark else "light")
            page.goto(f"{base}/dashboard/owner/{place}")
            page.wait_for_selector("main table, main .chart")
            page.wait_for_timeout(1_500)
            page.screenshot(path=IMAGES / f"{name}.png")
        browser.close()


def _become_owner(page: Page, link: str) -> None:
    page.goto(link)
    page.fill("[name=name]", "sara")
    page.locator("input[type=password]").first.fill(PASSWORD)
    for other in page.locator("input[type=password]").all()[1:]:
        other.fill(PASSWORD)
    page.locator("form button").first.click()
    page.wait_for_url("**/dashboard/**")


if __name__ == "__main__":
    main()
