-- What does the snapshot hold of each queue?
-- Grain: one row per queue.
-- Parameters: $queues, $since, $until

select
    queue,
    count(*) filter (action = 'job.enqueued') as enqueued,
    count(*) filter (action = 'job.completed') as completed,
    count(*) filter (action = 'job.failed') as failed,
    count(*) filter (action = 'job.retried') as retried,
    count(*) filter (action = 'job.snoozed') as snoozed,
    count(*) filter (action = 'job.lost') as lost,
    count(*) filter (action = 'job.cancelled') as cancelled,
    count(*) filter (action = 'job.replayed') as replayed,
    count(*) filter (action = 'dlq.added') as dead_lettered,
    min(occurred_at) as first_at,
    max(occurred_at) as last_at
from audit
where
    queue is not null
    and outcome is null
    and occurred_at >= $since and occurred_at < $until
    and ($queues::varchar[] is null or list_contains($queues::varchar[], queue))
group by queue
order by queue
