-- How many retries does a success cost?
-- Grain: one row per queue and job name.
-- Parameters: $queues, $since, $until

select
    queue,
    job_name,
    count(*) filter (action = 'job.completed') as completed,
    count(*) filter (action = 'job.retried') as retried,
    count(*) filter (action = 'job.failed') as failed,
    retried / nullif(completed, 0) as retries_per_success
from audit
where
    action in ('job.completed', 'job.retried', 'job.failed')
    and occurred_at >= $since and occurred_at < $until
    and ($queues::varchar[] is null or list_contains($queues::varchar[], queue))
group by queue, job_name
order by queue, job_name
