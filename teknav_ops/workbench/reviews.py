"""Reviews: what notebooks ask about one job, an incident, objectives, capacity and money; a part of `Workbench`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from teknav_ops.snapshots.questions.telling import CostKey
from teknav_ops.triage import forecast as forecasting
from teknav_ops.triage.incident import Incident
from teknav_ops.triage.objectives import Objective
from teknav_ops.workbench import capacities, costs, incidents, objectives, stories
from teknav_ops.workbench.capacities import Load
from teknav_ops.workbench.costs import Budget
from teknav_ops.workbench.stories import JobStory

if TYPE_CHECKING:
    import pandas

    from teknav_ops.workbench.bench import Workbench


class Reviews:
    """A part of `Workbench`."""

    @property
    def _bench(self) -> Workbench:
        return cast("Workbench", self)

    # One job -------------------------------------------------------------------------------------

    def story(self, job: str = "") -> JobStory:
        """All that is known of a job id or a trace id; of the newest failed job when none is named."""
        return stories.tell_story(self._bench, job)

    def alike(self, story: JobStory, *, limit: int = 20) -> pandas.DataFrame:
        """Other jobs' failures of the same causes, within an hour before and after."""
        return stories.alike(self._bench, story, limit=limit)

    # An incident ---------------------------------------------------------------------------------

    def window(self, *, start: str = "", end: str = "", hours: float = 2) -> dict[str, datetime]:
        """`since` and `until` from ISO texts or spans ago (`90m`); without them, the last hours."""
        return incidents.window_of(self._bench, start=start, end=end, hours=hours)

    def incident(self, *, since: datetime, until: datetime, queues: str = "") -> Incident:
        """What happened in a window, what changed, and how far it went."""
        return incidents.review(self._bench, since=since, until=until, queues=queues)

    # Objectives ----------------------------------------------------------------------------------

    def objectives(self) -> list[Objective]:
        """What the alert rules in force promise for each queue."""
        return objectives.objectives_of(self._bench)

    def objectives_kept(self, *, since: datetime, until: datetime) -> pandas.DataFrame:
        """What of each promise was kept."""
        return objectives.kept(self._bench, since=since, until=until)

    def budgets_burning(self) -> pandas.DataFrame:
        """How fast each error budget burns now."""
        return objectives.burning(self._bench)

    def worst_days(self, *, since: datetime, until: datetime, limit: int = 10) -> pandas.DataFrame:
        """The days that cost most of a budget."""
        return objectives.worst(self._bench, since=since, until=until, limit=limit)

    # Capacity ------------------------------------------------------------------------------------

    def loads(self, *, since: datetime, until: datetime) -> dict[str, Load]:
        """Every queue's arrivals per hour, time per job, threads and backlog, by name."""
        return capacities.loads_of(self._bench, since=since, until=until)

    @staticmethod
    def capacity(loads: Mapping[str, Load]) -> pandas.DataFrame:
        """Load, threads and backlog of each queue side by side; estimates."""
        return capacities.capacity(loads)

    @staticmethod
    def forecast(load: Load, *, hours: int = 24) -> pandas.DataFrame:
        """What the coming hours may bring; an estimate with an interval."""
        return forecasting.forecast(load.hourly, mean_seconds=load.mean_seconds, hours=hours)

    @staticmethod
    def scenarios(load: Load, **changes: Any) -> pandas.DataFrame:
        """What if the load were so many times today's; `changes` replace what is known (threads=…)."""
        return forecasting.scenarios(**{**load.scenario_facts, **changes})

    # Money ---------------------------------------------------------------------------------------

    def costs(self, by: CostKey, *, since: datetime, until: datetime) -> pandas.DataFrame:
        """Tokens and dollars of AI runs by model, task, job, article or day."""
        return costs.costs(self._bench, by=by, since=since, until=until)

    def ai_budget(self) -> Budget:
        """What is left of the day's budget."""
        return costs.budget(self._bench)
