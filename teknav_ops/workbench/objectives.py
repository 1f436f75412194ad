"""What the alert rules promise, held against what the snapshot counted, for `slo_report`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from teknav_ops.alerts.rules import BurnRate, P95OverTarget, Rule, rules_of
from teknav_ops.snapshots import questions
from teknav_ops.topology import Queue
from teknav_ops.triage.burn_rate import WORKBOOK_WINDOWS, EventCounts
from teknav_ops.triage.objectives import Objective, attainment, burns, worst_days

if TYPE_CHECKING:
    import pandas

    from teknav_ops.workbench.bench import Workbench

_DAY: Final = timedelta(days=1)
#: One step holds any window.
_WHOLE: Final = timedelta(days=36_500)
#: Without a rule: the standard rule's promise.
_SUCCESS_SHARE: Final = BurnRate(kind="burn_rate").objective


def objectives_of(bench: Workbench) -> list[Objective]:
    """Per queue the strictest objective of the rules in force; half the queue's time limit where no p95 is set."""
    rules = rules_of(bench.settings, bench.topology)
    return [
        Objective(queue.name, _success_share(rules, queue.name), _p95_ms(rules, queue))
        for queue in bench.topology.values()
    ]


def kept(bench: Workbench, *, since: datetime, until: datetime) -> pandas.DataFrame:
    """What of each objective was kept in the window; the columns are those of `triage.objectives.attainment`."""
    outcomes = questions.job_outcomes(bench.snapshot, width=_WHOLE, since=since, until=until)
    durations = questions.p95_by_time(bench.snapshot, width=_WHOLE, since=since, until=until)
    return attainment(outcomes, durations, objectives_of(bench))


def burning(bench: Workbench) -> pandas.DataFrame:
    """How fast each budget burns at the snapshot's moment, in the windows of the SRE Workbook: by jobs that ended for
    the first time then, as the alerts count.
    """
    until = bench.snapshot.meta.exported_at
    seconds = sorted({each for window in WORKBOOK_WINDOWS for each in (window.long_seconds, window.short_seconds)})
    counts: dict[str, dict[int, EventCounts]] = {
        name: dict.fromkeys(seconds, EventCounts(0, 0)) for name in bench.topology
    }
    for length in seconds:
        found = questions.first_ends(bench.snapshot, since=until - timedelta(seconds=length), until=until)
        for row in found.to_dict("records"):
            if row["queue"] in counts:
                counts[row["queue"]][length] = EventCounts(int(row["finished"]), int(row["failed"]))
    return burns(counts, objectives_of(bench))


def worst(bench: Workbench, *, since: datetime, until: datetime, limit: int = 10) -> pandas.DataFrame:
    """The days (UTC) whose arrivals cost most of a budget."""
    daily = questions.job_outcomes(bench.snapshot, width=_DAY, since=since, until=until)
    return worst_days(daily, objectives_of(bench), limit=limit)


def _success_share(rules: tuple[Rule, ...], queue: str) -> float:
    promised = [rule.objective for rule in rules if isinstance(rule, BurnRate) and rule.watches(queue)]
    return max(promised, default=_SUCCESS_SHARE)


def _p95_ms(rules: tuple[Rule, ...], queue: Queue) -> float:
    watching = [rule for rule in rules if isinstance(rule, P95OverTarget) and rule.watches(queue.name)]
    standard = P95OverTarget(kind="p95_over_target")
    return min(rule.target_for(queue.time_limit_ms) for rule in watching or [standard])
