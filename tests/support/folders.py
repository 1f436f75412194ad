"""The folders that tests make: each in one folder of this run, so that what is left behind can be found."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

#: The folder of this run; set by `tests.plugins.leftovers`, and inherited by every process that a test starts.
RUN_FOLDER_VARIABLE: Final = "TEST_RUN_FOLDER"


def new_folder() -> Path:
    """A new, empty folder. Remove it with `remove_folder` when the test ends."""
    return Path(tempfile.mkdtemp(prefix="teknav-test-", dir=os.environ.get(RUN_FOLDER_VARIABLE)))


def remove_folder(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
