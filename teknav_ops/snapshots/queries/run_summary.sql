-- How did each job do over this whole window?
-- Grain: one row per queue and job name of which something happened.
-- Parameters: $outcome, $queues, $since, $until

select
    queue,
    job_name,
    count(*) filter (action = 'job.enqueued') as enqueued,
    count(*) filter (action = 'job.completed') as completed,
    count(*) filter (action = 'job.failed') as failed,
    count(*) filter (action = 'job.retried') as retried,
    (failed + retried) / nullif(completed + failed + retried, 0) as error_rate,
    count(duration_ms) filter ($outcome = 'any' or (action = 'job.completed') = ($outcome = 'completed')) as n,
    avg(duration_ms) filter ($outcome = 'any' or (action = 'job.completed') = ($outcome = 'completed')) as avg_ms,
    quantile_disc(duration_ms, 0.95) filter ($outcome = 'any' or (action = 'job.completed') = ($outcome = 'completed'))::double as p95_ms
from audit
where
    action in ('job.enqueued', 'job.completed', 'job.failed', 'job.retried')
    and occurred_at >= $since and occurred_at < $until
    and ($queues::varchar[] is null or list_contains($queues::varchar[], queue))
group by queue, job_name
order by queue, job_name
