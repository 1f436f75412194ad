-- How long did each run take?
-- Grain: one row per run with a known duration; beyond the limit, the same fair sample each time.
-- Parameters: $outcome, $queues, $job_name, $since, $until, $limit

select
    occurred_at as "at",
    queue,
    job_name,
    duration_ms
from audit
where
    action in ('job.completed', 'job.failed', 'job.retried')
    and duration_ms is not null
    and ($outcome = 'any' or (action = 'job.completed') = ($outcome = 'completed'))
    and occurred_at >= $since and occurred_at < $until
    and ($queues::varchar[] is null or list_contains($queues::varchar[], queue))
    and ($job_name::varchar is null or job_name = $job_name::varchar)
order by hash(id), id
limit $limit
