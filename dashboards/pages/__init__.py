"""The pages, one per question."""

from typing import Final

from dashboards.page import Page
from dashboards.pages.dlq import DlqPage
from dashboards.pages.job import JobPage
from dashboards.pages.queue import QueuePage
from dashboards.pages.queues import QueuesPage
from dashboards.pages.replays import ReplaysPage

PAGES: Final[tuple[type[Page], ...]] = (QueuesPage, QueuePage, DlqPage, JobPage, ReplaysPage)
