-- How long did jobs wait, from when they could have begun until they did?
-- Grain: one row per time bucket and queue in which a run ended.
-- Parameters: $outcome, $queues, $since, $until, $width_ms

with waited as (
    select
        time_bucket(to_milliseconds($width_ms), occurred_at, timestamptz '1970-01-01 00:00:00+00') as "at",
        queue,
        count(*) as n,
        avg(waited_ms) as avg_ms,
        quantile_disc(waited_ms, [0.5, 0.95, 0.99]) as quantiles_ms,
        max(waited_ms) as max_ms
    from audit
    where
        action in ('job.completed', 'job.failed', 'job.retried')
        and duration_ms is not null and waited_ms is not null
        and ($outcome = 'any' or (action = 'job.completed') = ($outcome = 'completed'))
        and occurred_at >= $since and occurred_at < $until
        and ($queues::varchar[] is null or list_contains($queues::varchar[], queue))
    group by "at", queue
)

select
    "at",
    queue,
    n,
    avg_ms,
    quantiles_ms[1]::double as p50_ms,
    quantiles_ms[2]::double as p95_ms,
    quantiles_ms[3]::double as p99_ms,
    max_ms::double as max_ms
from waited
order by "at", queue
