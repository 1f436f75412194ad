-- What did operators do, and how did it end?
-- Grain: one row per action, newest first.
-- Parameters: $queues, $since, $until, $actor, $limit

select
    occurred_at as "at",
    action,
    actor,
    queue,
    coalesce(job_id::varchar, other_job_id) as job_id,
    outcome,
    detail
from audit
where
    outcome is not null
    and occurred_at >= $since and occurred_at < $until
    and ($queues::varchar[] is null or list_contains($queues::varchar[], queue))
    and ($actor::varchar is null or actor = $actor::varchar)
order by occurred_at desc, id desc
limit $limit
