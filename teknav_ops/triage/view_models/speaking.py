"""What all triage models share: every action ends in a status that a person reads."""

from __future__ import annotations

from collections.abc import Callable

import param
import structlog

from teknav_ops.errors import TekNavError

log = structlog.get_logger("teknav.triage")


class SpeakingModel(param.Parameterized):
    """`status` says what happened last; `is_wrong` that it was an error."""

    status = param.String(default="", doc="What happened last.")
    is_wrong = param.Boolean(default=False, doc="It was an error.")

    def say(self, words: str) -> None:
        """Tell what happened."""
        self.param.update(status=words, is_wrong=False)

    def attempt(self, action: Callable[[], None], *, always: Callable[[], None] = lambda: None) -> None:
        """Do something; an error becomes `status`, for a notebook would hide it in its log."""
        try:
            action()
        except Exception as error:
            # What we raise on purpose is written for people; of the rest they need the type, and the log has all.
            expected = isinstance(error, TekNavError)
            if not expected:
                log.error("triage.failed", model=type(self).__name__, exc_info=True)
            self.param.update(status=str(error) if expected else f"{type(error).__name__}: {error}", is_wrong=True)
        finally:
            always()
