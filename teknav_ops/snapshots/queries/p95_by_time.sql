-- How fast did each queue's jobs run, how many, and how many failed?
-- Grain: one row per queue and time bucket in which a run ended.
-- Parameters: $outcome, $queues, $since, $until, $width_ms

with run as (
    select
        queue,
        -- A number: over ten million rows time_bucket costs a quarter more.
        epoch_us(occurred_at) // ($width_ms::bigint * 1000) as number,
        count(*) as ended,
        count(duration_ms) filter ($outcome = 'any' or (action = 'job.completed') = ($outcome = 'completed')) as n,
        count(*) filter (action = 'job.completed') as completed,
        count(*) filter (action = 'job.failed') as failed,
        count(*) filter (action = 'job.retried') as retried,
        avg(duration_ms) filter ($outcome = 'any' or (action = 'job.completed') = ($outcome = 'completed')) as avg_ms,
        quantile_disc(duration_ms, [0.5, 0.95, 0.99]) filter ($outcome = 'any' or (action = 'job.completed') = ($outcome = 'completed')) as quantiles_ms
    from audit
    where
        action in ('job.completed', 'job.failed', 'job.retried')
        and occurred_at >= $since and occurred_at < $until
        and ($queues::varchar[] is null or list_contains($queues::varchar[], queue))
    group by queue, number
),

bucketed as (
    select *, make_timestamptz((number * $width_ms * 1000)::bigint) as bucket from run
),

-- The first and the last bucket may be cut short by the window, or by the moment of the export.
span as (
    select
        bucketed.*,
        epoch(least(bucket + to_milliseconds($width_ms), $until, snapshot_meta.exported_at))
        - epoch(greatest(bucket, $since)) as seconds
    from bucketed cross join snapshot_meta
)

select
    queue,
    bucket as "at",
    n,
    completed,
    failed,
    retried,
    (completed + failed) / case when seconds >= 1 then seconds else $width_ms / 1000 end as rate,
    (failed + retried) / ended as error_rate,
    avg_ms,
    quantiles_ms[1]::double as p50_ms,
    quantiles_ms[2]::double as p95_ms,
    quantiles_ms[3]::double as p99_ms
from span
order by "at", queue
