"""The settings of a program that is starting: a wrong one ends it with its name and what to change."""

from __future__ import annotations

import sys

from pydantic import ValidationError

from teknav_ops.settings import Settings, get_settings, setting_problems


def settings_at_start() -> Settings:
    """The process's settings. Exits with 1 where one of them is wrong; its value is not repeated."""
    try:
        return get_settings()
    except ValidationError as error:
        sys.exit("\n".join(f"error: {problem}" for problem in setting_problems(error)))
