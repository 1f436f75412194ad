-- How far did the failures of this window reach?
-- Grain: one row per window in which a run failed.
-- Parameters: $queues, $since, $until

select
    count(*) as failed_runs,
    count(*) filter (action = 'job.failed') as given_up,
    count(*) filter (action = 'job.retried') as retried,
    count(distinct job_id) + count(distinct other_job_id) as jobs,
    count(distinct trace_id) as traces,
    count(distinct (queue, error_type, fingerprint)) as causes,
    list(distinct queue order by queue) as queues,
    min(occurred_at) as first_at,
    max(occurred_at) as last_at
from audit
where
    action in ('job.failed', 'job.retried')
    and occurred_at >= $since and occurred_at < $until
    and ($queues::varchar[] is null or list_contains($queues::varchar[], queue))
having failed_runs > 0
