"""Settings of reports: where notebooks are, where reports go, when they run. A part of `settings.Settings`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings


class ReportSettings(BaseSettings):
    """What is run unattended, for how long, and how long it is kept."""

    profile: str | None = Field(
        None, description="Profile that notebooks reach where they name none. Unset: the system of these settings."
    )
    notebooks_dir: Path | None = Field(
        None, description="Folder of the notebooks that are reports. Unset: the checkout's `ops_notebooks`."
    )
    report_dir: Path | None = Field(
        None, description="Folder of the published reports, on a local disk. Unset: `data_dir`/reports."
    )
    report_schedules: str | None = Field(
        None,
        description="Reports that the leading scheduler runs, as a JSON list, or `@file`; docs/reports.md explains it.",
    )
    report_seconds: float = Field(900.0, gt=0, description="A report that takes longer is ended.")
    report_cell_seconds: int = Field(300, ge=1, description="A report one cell of which takes longer is ended.")
    report_keep_count: int = Field(30, ge=1, description="So many runs of each report are kept.")
    report_keep_days: int = Field(400, ge=1, description="Runs older than this are removed, but never the newest.")
    report_webhook_secret: SecretStr | None = Field(
        None, description="Signs posts about reports as Standard Webhooks asks (`whsec_…`). Unset: not signed."
    )

    @property
    def notebooks_root(self) -> Path:
        """Folder of the notebooks."""
        return self.notebooks_dir or Path(__file__).parents[1] / "ops_notebooks"
