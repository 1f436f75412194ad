-- Which errors ended runs, and when?
-- Grain: one row per time bucket, queue and error type.
-- Parameters: $queues, $since, $until, $width_ms

select
    time_bucket(to_milliseconds($width_ms), occurred_at, timestamptz '1970-01-01 00:00:00+00') as "at",
    queue,
    coalesce(error_type, '(none)') as error_type,
    count(*) as n,
    count(*) filter (action = 'job.failed') as failed,
    count(*) filter (action = 'job.retried') as retried
from audit
where
    action in ('job.failed', 'job.retried')
    and occurred_at >= $since and occurred_at < $until
    and ($queues::varchar[] is null or list_contains($queues::varchar[], queue))
group by all
order by "at", n desc, queue, error_type
