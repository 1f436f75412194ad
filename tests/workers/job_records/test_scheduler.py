"""The scheduler does it by itself."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.conftest import SECRET_KEY
from tests.support import warm_python
from tests.support.redis_server import RedisServer
from tests.support.waiting import until
from tests.workers.job_records.conftest import Records


def test_while_a_scheduler_leads_records_follow_their_jobs(
    records: Records, redis_server: RedisServer, database_url: str, tmp_path: Path
) -> None:
    job_id, delivery = records.begun()
    records.postpone(delivery)
    records.mail(job_id, "delayed")
    settings = {
        "TEKNAV_REDIS_URL": redis_server.url,
        "TEKNAV_DATABASE_URL": database_url,
        "TEKNAV_DATA_DIR": str(tmp_path),
        "TEKNAV_SECRET_KEY": SECRET_KEY,
    }
    scheduler = warm_python.Process(
        [sys.executable, "-m", "teknav_ops.runtime.scheduler"], env={**os.environ, **settings}
    )
    try:
        records.cancel(job_id)
        until(lambda: records.mail(job_id)[0] == "cancelled", seconds=60, what="the record to follow")
    finally:
        scheduler.kill()
        scheduler.wait()
