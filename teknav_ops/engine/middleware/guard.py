"""Guard: a check before a job that cannot fail open."""

from __future__ import annotations

from dramatiq import Broker
from dramatiq.broker import MessageProxy
from dramatiq.middleware import Middleware, MiddlewareError

from teknav_ops.engine.delivery import JobMessage
from teknav_ops.errors import GuardFailed, TekNavError


class Refused(MiddlewareError):
    """Carries a guard's verdict past Dramatiq, which lets only MiddlewareErrors stop a job."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Guard(Middleware):
    """Dramatiq swallows what a `before_process_message` hook raises and runs the job. A guard does not let it."""

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """Run the check; whatever it raises stops the job."""
        if not isinstance(message, JobMessage):
            return
        try:
            self._require(message)
        except BaseException:
            message.end()
            raise

    def _require(self, message: JobMessage) -> None:
        try:
            self.check(message)
        except MiddlewareError:
            raise
        except TekNavError as error:
            raise Refused(error) from error
        except Exception as error:
            raise GuardFailed(f"{type(self).__name__}: {type(error).__name__}: {error}") from error

    def check(self, message: JobMessage) -> None:
        """Return to let the job run."""


def cause_of(exception: BaseException) -> BaseException:
    """What really went wrong, without the wrapping that carried it past Dramatiq."""
    return exception.cause if isinstance(exception, Refused) else exception
