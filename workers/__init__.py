"""The composition root of workers: `dramatiq workers` starts here.

Processors, their services and the broker meet in this module and nowhere else.
"""

from __future__ import annotations

import dramatiq

from teknav_ops.engine.assembly import build_broker, register
from teknav_ops.logs import configure_logs
from teknav_ops.private_files import keep_files_private
from teknav_ops.redis_url import find_redis_url
from teknav_ops.settings import get_settings
from teknav_ops.storage.effects import SqlEffects
from workers.ai_content import enhance_content, generate_draft, generate_summary, translate
from workers.ai_review import review_article
from workers.ai_seo import generate_seo
from workers.analytics_process import process_events
from workers.analytics_snapshot import snapshot_dashboard
from workers.email_send import send_email
from workers.media_optimize import optimize_image
from workers.otp_send import send_otp
from workers.plugins_execute import execute_plugin
from workers.search_index import index_article
from workers.services import open_services
from workers.webhooks_deliver import deliver_webhook
from workers.workflows_run import run_workflow

PROCESSORS = (
    generate_draft,
    generate_summary,
    translate,
    enhance_content,
    generate_seo,
    review_article,
    run_workflow,
    execute_plugin,
    process_events,
    snapshot_dashboard,
    index_article,
    optimize_image,
    send_email,
    send_otp,
    deliver_webhook,
)

keep_files_private()
_settings = get_settings()
configure_logs(_settings)
_services = open_services(_settings)
broker = build_broker(_settings, find_redis_url(_settings), effects=SqlEffects(_services.database))
register(broker, PROCESSORS, _services)
dramatiq.set_broker(broker)
