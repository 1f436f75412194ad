-- How many jobs came, ran and ended, and how long did runs of an outcome take in all?
-- Grain: one row per queue, job name and time bucket in which something happened.
-- Parameters: $outcome, $queues, $since, $until, $width_ms

select
    queue,
    job_name,
    time_bucket(to_milliseconds($width_ms), occurred_at, timestamptz '1970-01-01 00:00:00+00') as "at",
    count(*) filter (action = 'job.enqueued') as enqueued,
    count(*) filter (action = 'job.completed') as completed,
    count(*) filter (action = 'job.failed') as failed,
    count(*) filter (action = 'job.retried') as retried,
    count(duration_ms) filter ($outcome = 'any' or (action = 'job.completed') = ($outcome = 'completed')) as runs,
    coalesce(sum(duration_ms::double) filter ($outcome = 'any' or (action = 'job.completed') = ($outcome = 'completed')), 0) as duration_sum_ms,
    count(waited_ms) filter (duration_ms is not null) as waited_runs,
    coalesce(sum(waited_ms::double) filter (duration_ms is not null), 0) as waited_sum_ms
from audit
where
    action in ('job.enqueued', 'job.completed', 'job.failed', 'job.retried')
    and occurred_at >= $since and occurred_at < $until
    and ($queues::varchar[] is null or list_contains($queues::varchar[], queue))
group by queue, job_name, "at"
order by "at", queue, job_name
