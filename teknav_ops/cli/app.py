"""`teknav`: the program, and how errors become exit codes; `commands.PLACES` lists the commands.

0 done · 1 a check failed · 2 the input was wrong · 3 Redis or SQL did not answer · 4 not allowed ·
130 interrupted
"""

from __future__ import annotations

import sys

import typer
from pydantic import ValidationError
from redis.exceptions import RedisError

from teknav_ops.cli import show
from teknav_ops.cli.commands import CommandGroup
from teknav_ops.errors import NotAllowed, RedisUnavailable, StorageUnavailable, TekNavError
from teknav_ops.logs import configure_command_logs
from teknav_ops.payloads.redaction import redact
from teknav_ops.private_files import keep_files_private
from teknav_ops.redis_state.connection import OUTAGE_ERRORS

app = typer.Typer(
    cls=CommandGroup, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
)  # fmt: skip


@app.callback()
def teknav() -> None:
    """TekNav ops: run the job system, watch it, and repair it."""


_UNAVAILABLE: tuple[type[Exception], ...] = (RedisUnavailable, StorageUnavailable, *OUTAGE_ERRORS)


def main() -> None:
    """The console script."""
    keep_files_private()
    configure_command_logs()
    sys.exit(run())


def run() -> int:
    """Run the command line; answers its exit code."""
    try:
        # Outside standalone mode, an Exit comes back as its code.
        code = app(standalone_mode=False)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    except (typer.Abort, KeyboardInterrupt):
        return _fail("stopped", 130)
    except NotAllowed as error:
        return _fail(str(error), 4)
    except _UNAVAILABLE as error:
        advice = "" if "`teknav doctor`" in str(error) else "\nRun `teknav doctor`."
        return _fail(f"{error}{advice}", 3)
    except ValidationError as error:
        return _fail("; ".join(_problems(error)), 2)
    except TekNavError as error:
        return _fail(str(error), 2)
    except RedisError as error:
        return _fail(f"{error}\nRun `teknav doctor`.", 3)
    except UnicodeEncodeError:
        # Bytes that are no text come as half surrogates, which no server takes.
        return _fail("an argument is not UTF-8 text", 2)
    except Exception as error:
        shown = getattr(error, "show", None)
        if shown is not None:
            shown()
            return int(getattr(error, "exit_code", 2))
        if _is_of_the_database(error):
            return _fail(f"{error}\nRun `teknav doctor`.", 3)
        if isinstance(error, OSError) and error.strerror:
            # A data folder that cannot be used, a full disk.
            return _fail(f"{error.filename or 'a file'}: {error.strerror}", 2)
        raise
    return code if isinstance(code, int) else 0


def _problems(error: ValidationError) -> list[str]:
    from teknav_ops.settings import Settings, setting_problems

    return setting_problems(error) if error.title == Settings.__name__ else [str(error)]


def _is_of_the_database(error: Exception) -> bool:
    # Imported here: most commands never load SQLAlchemy, and need not wait for it.
    from sqlalchemy.exc import DBAPIError

    return isinstance(error, DBAPIError)


def _fail(message: str, code: int) -> int:
    show.errors.print(f"error: {redact(message)}", markup=False, highlight=False, soft_wrap=True)
    return code
