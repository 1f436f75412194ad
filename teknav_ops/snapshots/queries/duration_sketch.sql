-- How are the durations of runs distributed, in the buckets of the live sketch?
-- Grain: one row per queue, job name, time bucket and duration bucket.
-- Parameters: $outcome, $queues, $since, $until, $width_ms, $inverse_log_gamma, $smallest_ms

with run as (
    select
        queue,
        job_name,
        time_bucket(to_milliseconds($width_ms), occurred_at, timestamptz '1970-01-01 00:00:00+00') as "at",
        case
            when duration_ms >= $smallest_ms::double then ceil(ln(duration_ms::double) * $inverse_log_gamma)::integer
        end as number,
        count(*) as n
    from audit
    where
        action in ('job.completed', 'job.failed', 'job.retried')
        and duration_ms is not null
        and ($outcome = 'any' or (action = 'job.completed') = ($outcome = 'completed'))
        and occurred_at >= $since and occurred_at < $until
        and ($queues::varchar[] is null or list_contains($queues::varchar[], queue))
    group by queue, job_name, "at", number
)

select
    queue,
    job_name,
    "at",
    'b' || coalesce(number::varchar, 'z') as bucket,
    n
from run
order by "at", queue, job_name, number
