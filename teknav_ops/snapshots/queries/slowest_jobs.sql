-- Which runs took longest?
-- Grain: one row per run, slowest first.
-- Parameters: $outcome, $queues, $since, $until, $limit

select
    occurred_at as "at",
    queue,
    job_name,
    coalesce(job_id::varchar, other_job_id) as job_id,
    attempt,
    action,
    duration_ms::double as duration_ms,
    waited_ms::double as waited_ms,
    error_type
from audit
where
    action in ('job.completed', 'job.failed', 'job.retried')
    and duration_ms is not null
    and ($outcome = 'any' or (action = 'job.completed') = ($outcome = 'completed'))
    and occurred_at >= $since and occurred_at < $until
    and ($queues::varchar[] is null or list_contains($queues::varchar[], queue))
order by audit.duration_ms desc, id
limit $limit
