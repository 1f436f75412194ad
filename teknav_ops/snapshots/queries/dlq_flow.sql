-- How many jobs became dead letters, how many were taken out, and does the pile grow?
-- Grain: one row per time bucket and queue in which the dead letters changed.
-- Parameters: $queues, $since, $until, $width_ms

-- Operators' own rows carry an outcome; what happened to each job is in the rows without one.
with flow as (
    select
        time_bucket(to_milliseconds($width_ms), occurred_at, timestamptz '1970-01-01 00:00:00+00') as "at",
        queue,
        count(*) filter (action = 'dlq.added') as inflow,
        count(*) filter (action = 'job.replayed') as replayed,
        count(*) filter (action in ('dlq.deleted', 'dlq.purged')) as deleted
    from audit
    where
        action in ('dlq.added', 'job.replayed', 'dlq.deleted', 'dlq.purged')
        and outcome is null
        and occurred_at >= $since and occurred_at < $until
        and ($queues::varchar[] is null or list_contains($queues::varchar[], queue))
    group by "at", queue
)

select
    "at",
    queue,
    inflow,
    replayed,
    deleted,
    replayed + deleted as outflow,
    inflow - replayed - deleted as net
from flow
order by "at", queue
