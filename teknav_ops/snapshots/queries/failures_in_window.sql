-- Which runs failed in this window?
-- Grain: one row per failed run, newest first.
-- Parameters: $queues, $fingerprints, $since, $until, $limit

select
    occurred_at as "at",
    queue,
    job_name,
    coalesce(job_id::varchar, other_job_id) as job_id,
    attempt,
    action,
    error_type,
    fingerprint,
    error,
    duration_ms::double as duration_ms,
    actor as worker,
    replace(trace_id::varchar, '-', '') as trace_id
from audit
where
    action in ('job.failed', 'job.retried')
    and occurred_at >= $since and occurred_at < $until
    and ($queues::varchar[] is null or list_contains($queues::varchar[], queue))
    and ($fingerprints::varchar[] is null or list_contains($fingerprints::varchar[], fingerprint))
order by occurred_at desc, id desc
limit $limit
