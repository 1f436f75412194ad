"""What the warm process has done before it forks for the first time."""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import os
import sys
import threading
from unittest import mock

import soupsieve
import sqlalchemy.orm

#: Libraries, and those of our modules that look at no setting, environment or terminal when they are imported.
LIBRARIES = """
    aiosmtpd.controller alembic.command argon2 authlib.integrations.requests_client bokeh.plotting cryptography.fernet
    dramatiq.cli duckdb fastapi httpcore2 httpx hypothesis.stateful ipykernel.kernelapp jmespath jupyterlab.labapp
    multiprocessing.connection nbclient nbconvert nbformat openai pandas panel papermill.cli playwright.sync_api
    plotly.express prometheus_client psycopg pyarrow pydantic_settings pytest redis.cluster redis.sentinel rich.live
    schemathesis sqlalchemy.dialects.postgresql sqlalchemy.dialects.sqlite structlog typer uvicorn uvloop wasmtime
    websockets xml.sax yake
    IPython.core.completerlib IPython.core.debugger IPython.extensions.storemagic ipykernel.debugger
    ipykernel.kernelspec jinja2.ext mistune.plugins.def_list mistune.plugins.task_lists mistune.plugins.url
    plotly.graph_objects plotly.offline pyarrow.pandas_compat rich._emoji_codes rich.status
    tornado.platform.asyncio typer._adapters
""".split()  # noqa: SIM905
OURS = """
    teknav_ops.engine.assembly teknav_ops.api.app
    teknav_ops.runtime.scheduler teknav_ops.workbench teknav_ops.reports.runner teknav_ops.storage.schema
    teknav_ops.audit.writer teknav_ops.audit.chain.export teknav_ops.snapshots.export dashboards.app
    teknav_ops.figures teknav_ops.reports.frames teknav_ops.reports.html teknav_ops.platform.ai_prices
""".split()  # noqa: SIM905


def preload() -> None:
    """Import all, and leave nothing to collect."""
    # Kernels import the debugger, which would write a warning here.
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    _import_duckdb()
    for name in (*LIBRARIES, *OURS):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    if threading.active_count() > 1:
        sys.stderr.write(f"the warm process has threads: {threading.enumerate()}\n")
    _do_what_was_put_off()
    gc.collect()
    gc.freeze()


def _import_duckdb() -> None:
    """Without the function that it calls at the end: that takes 7 ms to free what ends with the program anyway."""
    with mock.patch.object(atexit, "register", wraps=atexit.register) as register:
        importlib.import_module("_duckdb")
    for call in register.call_args_list:
        atexit.unregister(call.args[0])


def _do_what_was_put_off() -> None:
    """What two libraries do at their first use, the same in each program: a tenth of a second each."""
    sqlalchemy.orm.configure_mappers()
    soupsieve.compile("p")
