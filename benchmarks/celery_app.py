"""Celery for the benchmark."""

from __future__ import annotations

import os

from celery import Celery

app = Celery("bench", broker=os.environ.get("BENCH_REDIS_URL"))
app.conf.task_ignore_result = True


@app.task(name="noop")
def noop(number: int) -> None:
    """Do nothing."""
