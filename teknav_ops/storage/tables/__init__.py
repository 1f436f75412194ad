"""The tables, one module per noun. Alembic's migrations are checked against them by a test."""

from teknav_ops.storage.tables.access import AccessRecoveryCode, AccessToken, AccessTotp, AccessUser
from teknav_ops.storage.tables.ai import (
    AiDraft,
    AiEventLog,
    AIReport,
    AiRun,
    ArticleQualityReport,
    ArticleVersion,
)
from teknav_ops.storage.tables.alerts import Alert, AlertDelivery, AlertSilence, QueueHour
from teknav_ops.storage.tables.analytics import (
    AnalyticsDay,
    AnalyticsDirtyKey,
    AnalyticsEvent,
    AnalyticsQueryForm,
    AnalyticsRejectedEvent,
    ArticleStatsDaily,
    SearchQueryStatsDaily,
    UserEngagementDaily,
)
from teknav_ops.storage.tables.articles import Article, SearchDocument, Translation
from teknav_ops.storage.tables.audit import AuditActionBeat, AuditCursor, AuditLog, AuditPosition, AuditSeal, JobEffect
from teknav_ops.storage.tables.base import Base
from teknav_ops.storage.tables.files import File
from teknav_ops.storage.tables.mail import EmailQueue
from teknav_ops.storage.tables.otp import OtpLog
from teknav_ops.storage.tables.plugins import Plugin, PluginExecutionLog, PluginKv
from teknav_ops.storage.tables.webhooks import WebhookDeliveryLog, WebhookEndpoint
from teknav_ops.storage.tables.workflows import WorkflowDefinition, WorkflowRun, WorkflowStepExecution

__all__ = [
    "AIReport",
    "AccessRecoveryCode",
    "AccessToken",
    "AccessTotp",
    "AccessUser",
    "AiDraft",
    "AiEventLog",
    "AiRun",
    "Alert",
    "AlertDelivery",
    "AlertSilence",
    "AnalyticsDay",
    "AnalyticsDirtyKey",
    "AnalyticsEvent",
    "AnalyticsQueryForm",
    "AnalyticsRejectedEvent",
    "Article",
    "ArticleQualityReport",
    "ArticleStatsDaily",
    "ArticleVersion",
    "AuditActionBeat",
    "AuditCursor",
    "AuditLog",
    "AuditPosition",
    "AuditSeal",
    "Base",
    "EmailQueue",
    "File",
    "JobEffect",
    "OtpLog",
    "Plugin",
    "PluginExecutionLog",
    "PluginKv",
    "QueueHour",
    "SearchDocument",
    "SearchQueryStatsDaily",
    "Translation",
    "UserEngagementDaily",
    "WebhookDeliveryLog",
    "WebhookEndpoint",
    "WorkflowDefinition",
    "WorkflowRun",
    "WorkflowStepExecution",
]
