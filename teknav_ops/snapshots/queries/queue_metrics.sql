-- How full was each queue, every five minutes?
-- Grain: one row per queue and aggregate.
-- Parameters: $queues, $since, $until

select
    occurred_at as "at",
    queue,
    (detail ->> '$.stats.waiting')::bigint as waiting,
    (detail ->> '$.stats.paused')::bigint as paused,
    (detail ->> '$.stats.active')::bigint as active,
    (detail ->> '$.stats.delayed')::bigint as "delayed",
    (detail ->> '$.stats.dlq')::bigint as dlq,
    (detail ->> '$.stats.workers')::bigint as workers,
    (detail ->> '$.stats.oldestWaitingAgeMs')::double as oldest_waiting_age_ms,
    (detail ->> '$.stats.rate')::double as rate,
    (detail ->> '$.stats.p95DurationMs')::double as p95_ms
from audit
where
    action = 'queue.metrics'
    and occurred_at >= $since and occurred_at < $until
    and ($queues::varchar[] is null or list_contains($queues::varchar[], queue))
order by "at", queue
