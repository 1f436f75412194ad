-- How many jobs came to an end for the first time in this window, and how many of them failed?
-- Grain: one row per queue in which one did.
-- Parameters: $queues, $since, $until

select
    finish.queue,
    count(*) as finished,
    count(*) filter (finish.action = 'job.failed') as failed
from audit as finish
where
    finish.action in ('job.completed', 'job.failed')
    and finish.occurred_at >= $since and finish.occurred_at < $until
    and ($queues::varchar[] is null or list_contains($queues::varchar[], finish.queue))
    -- Who was replayed had ended before.
    and not exists (
        select 1
        from audit as replay
        where
            replay.action = 'job.replayed'
            and replay.outcome is null
            and replay.queue = finish.queue
            and replay.job_id is not distinct from finish.job_id
            and replay.other_job_id is not distinct from finish.other_job_id
            and replay.id < finish.id
    )
group by finish.queue
order by finish.queue
