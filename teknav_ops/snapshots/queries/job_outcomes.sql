-- What became of the jobs that arrived in this window, each counted once however often it ran?
-- Grain: one row per queue and time bucket (of arrival) in which a job arrived.
-- Parameters: $queues, $since, $until, $width_ms

with job as (
    select
        queue,
        job_id,
        other_job_id,
        min(occurred_at) filter (action = 'job.enqueued') as arrived_at,
        -- Its last word, as of the snapshot: one that was replayed is open again.
        arg_max(action, id) filter (
            action in ('job.completed', 'job.failed', 'job.cancelled', 'job.replayed')
        ) as last_action,
        count(*) filter (action in ('job.completed', 'job.failed', 'job.retried')) as run_count
    from audit
    where
        action in (
            'job.enqueued', 'job.completed', 'job.failed', 'job.retried', 'job.cancelled', 'job.replayed'
        )
        and outcome is null
        and occurred_at >= $since
        and ($queues::varchar[] is null or list_contains($queues::varchar[], queue))
    group by queue, job_id, other_job_id
    having arrived_at < $until
)

select
    queue,
    time_bucket(to_milliseconds($width_ms), arrived_at, timestamptz '1970-01-01 00:00:00+00') as "at",
    count(*) as jobs,
    count(*) filter (last_action = 'job.completed') as completed,
    count(*) filter (last_action = 'job.failed') as failed,
    count(*) filter (last_action = 'job.cancelled') as cancelled,
    jobs - completed - failed - cancelled as open,
    sum(run_count)::bigint as runs
from job
group by queue, "at"
order by "at", queue
