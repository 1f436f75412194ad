"""The pages, one per question."""

from typing import Final

from dashboards.page import Page
from dashboards.pages.queues import QueuesPage

PAGES: Final[tuple[type[Page], ...]] = (QueuesPage,)
