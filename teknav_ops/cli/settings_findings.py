"""What `teknav doctor` says of settings, and of the folders that they name."""

from __future__ import annotations

from typing import Final

from pydantic import ValidationError

from teknav_ops.access.sign_on_roles import patterns_without_queue
from teknav_ops.cli.context import Context
from teknav_ops.cli.finding import Finding
from teknav_ops.durable_files import RESERVE_BYTES, free_bytes
from teknav_ops.errors import TekNavError
from teknav_ops.private_files import open_folders
from teknav_ops.secret_key import cipher_keys
from teknav_ops.settings import setting_problems
from teknav_ops.topology import TOPOLOGY

_REMEDY: Final = "Correct the named TEKNAV_ variable; docs/settings.md lists them."


def settings_finding(context: Context) -> Finding:
    """Whether the settings can be used, and whether what they name is there."""
    try:
        settings = context.settings
        cipher_keys(settings)
    except ValidationError as error:
        return Finding("settings", False, "; ".join(setting_problems(error)), _REMEDY)
    except (TekNavError, ValueError) as error:
        return Finding("settings", False, str(error), _REMEDY)
    if idle := patterns_without_queue(settings, TOPOLOGY):
        return Finding("settings", False, "; ".join(idle), f"There are {', '.join(TOPOLOGY)}.")
    return Finding("settings", True, f"{settings.environment}, data in {settings.data_dir.absolute()}")


def files_finding(context: Context) -> Finding:
    """Whether others of this machine can look into what is kept."""
    settings = context.settings
    found = list(open_folders([settings.data_dir, settings.snapshot_root, settings.report_root]))
    if not found:
        return Finding("files", True, "open to their owner only")
    paths = " ".join(str(folder.absolute()) for folder, _ in found)
    seen = ", ".join(f"{folder.absolute()} ({mode})" for folder, mode in found)
    return Finding("files", False, f"other users of this machine can look into {seen}", f"Run `chmod 700 {paths}`.")


def disk_finding(context: Context) -> Finding:
    """Whether there is room on the disks of the folders."""
    settings = context.settings
    folders = (settings.data_dir, settings.snapshot_root, settings.report_root, settings.media_root)
    free = {folder.absolute(): free_bytes(folder) for folder in folders}
    least = min(free, key=lambda folder: free[folder])
    seen = f"{free[least] / 2**20:,.0f} MiB are free for {least}"
    remedy = "Make room: Redis, the database, snapshots and reports take nothing more once it is full."
    return Finding("disk", free[least] >= RESERVE_BYTES, seen, remedy)
