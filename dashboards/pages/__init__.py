"""The pages, one per question."""

from typing import Final

from dashboards.page import Page
from dashboards.pages.access import AccessPage
from dashboards.pages.account import AccountPage
from dashboards.pages.alerts import AlertsPage
from dashboards.pages.audit import AuditPage
from dashboards.pages.dead_letters import DeadLettersPage
from dashboards.pages.dlq import DlqPage
from dashboards.pages.job import JobPage
from dashboards.pages.queue import QueuePage
from dashboards.pages.queues import QueuesPage
from dashboards.pages.replays import ReplaysPage
from dashboards.pages.reports import ReportsPage
from dashboards.pages.runbook import AlertRunbookPage, RunbookIndexPage, RunbookPage
from dashboards.pages.workers import WorkersPage

PAGES: Final[tuple[type[Page], ...]] = (
    QueuesPage,
    QueuePage,
    DeadLettersPage,
    DlqPage,
    JobPage,
    ReplaysPage,
    ReportsPage,
    WorkersPage,
    AlertsPage,
    AuditPage,
    AccountPage,
    AccessPage,
    RunbookIndexPage,
    RunbookPage,
    AlertRunbookPage,
)
