"""A report's own process: runs the notebook, then writes the page. `python -m teknav_ops.reports.child run FOLDER`.

`page FOLDER` writes only the page, of what a run that was ended left behind.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

from teknav_ops.configured_secrets import mask_configured_secrets
from teknav_ops.durable_files import write_whole
from teknav_ops.logs import MaskedFormatter
from teknav_ops.parent_death import end_with_parent
from teknav_ops.payloads.redaction import leaving, redact_beginning
from teknav_ops.reports.html import numbers_in, render
from teknav_ops.reports.limits import LimitBreached
from teknav_ops.reports.masking import mask_outputs
from teknav_ops.reports.runs import Order, RunMeta, Status
from teknav_ops.reports.store import META, NOTEBOOK, PAGE
from teknav_ops.reports.workroom import EXECUTED, ORDER, TEMPORARY
from teknav_ops.settings import get_settings

_ERROR_LIMIT = 2_000


def _told(error: str) -> str:
    return leaving(redact_beginning(error, 2 * _ERROR_LIMIT))[:_ERROR_LIMIT]


def run(folder: Path) -> None:
    """Run what is ordered in the folder; `meta.json` says how it went."""
    order = Order.model_validate_json((folder / ORDER).read_bytes())
    _make_temporary_files_in(folder / TEMPORARY)
    status, error = _execute(order, folder / TEMPORARY / EXECUTED)
    notebook = _read_masked(folder)
    numbers = numbers_in(notebook) if notebook is not None else ()
    meta = RunMeta.of(order).ended(status, error=_told(error), numbers=numbers)
    # First what is certain: should the page fail, how the run went is known.
    write_whole(folder / META, meta.model_dump_json(indent=1))
    write_page(folder, meta, notebook)


def write_page(folder: Path, meta: RunMeta, notebook: Any = None) -> None:
    """Write the page of a run; the folder lies two below the reports."""
    notebook = _read_masked(folder) if notebook is None else notebook
    if notebook is not None:
        write_whole(folder / PAGE, render(notebook, meta, folder.parent.parent))


def _make_temporary_files_in(folder: Path) -> None:
    """The kernel's connection file holds the key to it, and goes with the folder though this process is killed."""
    folder.mkdir(mode=0o700, exist_ok=True)
    tempfile.tempdir = str(folder.absolute())


def _execute(order: Order, output: Path) -> tuple[Status, str]:
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    _keep_whole(output)
    try:
        papermill.execute_notebook(
            order.notebook, output, parameters=order.parameters, kernel_name="python3", progress_bar=False,
            execution_timeout=order.cell_seconds, start_timeout=order.start_seconds,
        )  # fmt: skip
    except PapermillExecutionError as error:
        if error.ename == LimitBreached.__name__:
            return "limit", error.evalue
        return "failed", f"{error.ename}: {error.evalue}"
    except CellTimeoutError:
        return "timeout", f"a cell took longer than {order.cell_seconds:,} s (TEKNAV_REPORT_CELL_SECONDS)"
    except DeadKernelError:
        return "killed", "the kernel died: was there enough memory?"
    except Exception as error:
        logging.exception("the notebook could not be run")
        return "failed", f"{type(error).__name__}: {error}"
    return "ok", ""


def _keep_whole(output: Path) -> None:
    """Let Papermill save the notebook whole each time: its own way empties the file first, and a run that is killed at
    that moment would leave nothing of what it had done.
    """
    from papermill.iorw import LocalHandler, papermill_io

    class WholeFiles(LocalHandler):  # type: ignore[misc]
        def write(self, buf: str, path: str) -> None:
            write_whole(Path(path), buf)

    papermill_io.register(str(output), WholeFiles())


def _read_masked(folder: Path) -> Any:
    """What has been executed so far, with what cells showed, printed and raised masked. So it gets the name under which
    it is published, and never before: whatever ends this process, nothing unmasked leaves.
    """
    import nbformat

    notebook = _read(folder)
    if notebook is not None:
        mask_outputs(notebook)
        write_whole(folder / NOTEBOOK, nbformat.writes(notebook))  # type: ignore[no-untyped-call]
    return notebook


def _read(folder: Path) -> Any:
    """What has been executed so far; None where nothing readable is there."""
    import nbformat

    try:
        return nbformat.read(folder / TEMPORARY / EXECUTED, as_version=4)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, nbformat.reader.NotJSONError) as error:
        logging.warning("no notebook to show: %s", error)
        return None


def main(arguments: list[str]) -> None:
    """Run in this process."""
    mask_configured_secrets(get_settings())
    handler = logging.StreamHandler()
    handler.setFormatter(MaskedFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    end_with_parent()
    task, folder = arguments[0], Path(arguments[1])
    if task == "run":
        run(folder)
    else:
        write_page(folder, RunMeta.model_validate_json((folder / META).read_bytes()))


if __name__ == "__main__":
    main(sys.argv[1:])
