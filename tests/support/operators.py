"""Who acts in the tests' own processes."""

from __future__ import annotations

import os
import pwd


def at_command_line(declared: str, *, kind: str = "cli") -> str:
    """The actor of commands and notebooks that declare this name."""
    return f"{kind}:{pwd.getpwuid(os.getuid()).pw_name} ({declared})"
