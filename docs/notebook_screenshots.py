"""Makes the pictures of the notebooks' pages from a running demo; `screenshots.py` starts one, or
`python docs/notebook_screenshots.py DATA_DIR` takes what runs already.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pyvips
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import sample_history  # noqa: E402

from teknav_ops.reports.catalogue import Catalogue  # noqa: E402
from tests.support.browser import FLAGS, find_browser  # noqa: E402

TEKNAV = Path(sys.executable).parent / "teknav"
PICTURES = ROOT / "docs" / "images" / "notebooks"
#: What makes a picture worth looking at, where the standard parameters would not.
PARAMETERS: dict[str, dict[str, object]] = {
    "queue_health": {"hours": 1}, "p95_durations": {"queue": "webhooks:deliver"}, "dlq_triage": {"hours": 1},
    "incident_review": {"hours": 1},
}  # fmt: skip
WIDTH, HEIGHT = 1160, 1900
#: Above the stack traces, which name the folders of whoever takes the picture.
HEIGHTS = {"job_story": 1_150}


#: What a demo of some minutes cannot fill: pictures of three weeks that are made up.
OF_SAMPLE_HISTORY = ("ai_costs", "capacity_forecast", "p95_durations", "slo_report")


def run(name: str, data_dir: Path, sample_dir: Path) -> Path:
    """Run one report; answers its page."""
    snapshots = {}
    if name in OF_SAMPLE_HISTORY:
        # Redis, for workers and backlog, is the demo's.
        snapshots = {"TEKNAV_SNAPSHOT_DIR": str(sample_dir / "snapshots"),
                     "TEKNAV_DATABASE_URL": f"sqlite:///{sample_dir / 'teknav.sqlite3'}"}  # fmt: skip
    given = [word for key, value in PARAMETERS.get(name, {}).items() for word in ("--param", f"{key}={value}")]
    done = subprocess.run(
        [str(TEKNAV), "report", "run", name, *given, "--json"],
        env={**os.environ, "TEKNAV_DATA_DIR": str(data_dir), "TEKNAV_OPERATOR": "sara", **snapshots},
        cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    run_id: str = json.loads(done.stdout)["run"]
    return data_dir / "reports" / name / run_id / "report.html"


def main(data_dir: Path) -> None:
    """One picture per notebook."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as sample_dir:
        sample_history.make(Path(sample_dir))
        browser = playwright.chromium.launch(executable_path=find_browser(), args=list(FLAGS))
        for name in Catalogue(ROOT / "ops_notebooks").names():
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHTS.get(name, HEIGHT)})
            page.goto(run(name, data_dir, Path(sample_dir)).as_uri())
            page.wait_for_selector(".js-plotly-plot .main-svg")
            page.wait_for_timeout(800)
            picture = pyvips.Image.new_from_buffer(page.screenshot(), "")
            picture.resize(0.6).write_to_file(
                str(PICTURES / f"{name}.png"), palette=True, Q=90, compression=9, effort=10
            )
            page.close()
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
