-- Which causes are behind the failures of this window, and with which run did each begin?
-- Grain: one row per queue, error type and fingerprint, the most frequent first.
-- Parameters: $queues, $since, $until, $limit

with cause as (
    select
        queue,
        error_type,
        fingerprint,
        count(*) as n,
        count(*) filter (action = 'job.failed') as given_up,
        count(distinct job_id) + count(distinct other_job_id) as jobs,
        min(occurred_at) as first_at,
        max(occurred_at) as last_at,
        arg_max(error, row(occurred_at, id)) as example,
        -- One run, whole: columns by themselves might come from two runs of one moment.
        arg_min(
            {
                'job_name': job_name,
                'job_id': coalesce(job_id::varchar, other_job_id),
                'attempt': attempt,
                'error': error
            },
            row(occurred_at, id)
        ) as first_run
    from audit
    where
        action in ('job.failed', 'job.retried')
        and occurred_at >= $since and occurred_at < $until
        and ($queues::varchar[] is null or list_contains($queues::varchar[], queue))
    group by queue, error_type, fingerprint
    order by n desc, queue, error_type, fingerprint
    limit $limit
)

select
    queue,
    error_type,
    fingerprint,
    n,
    given_up,
    jobs,
    first_at,
    last_at,
    example,
    first_run.job_name as first_job_name,
    first_run.job_id as first_job_id,
    first_run.attempt as first_attempt,
    first_run.error as first_error
from cause
order by n desc, queue, error_type, fingerprint
