-- What happened to this job, or to all jobs of this trace, from beginning to end?
-- Grain: one row per event, oldest first.
-- Parameters: $job_id, $trace_id

with by_uuid as (
    select try_cast($job_id::varchar as uuid) as wanted
    union
    select job_id from audit where trace_id = try_cast($trace_id::varchar as uuid)
),

by_text as (
    select $job_id::varchar as wanted
    union
    select other_job_id from audit where trace_id = try_cast($trace_id::varchar as uuid)
),

event as (
    select * from audit where job_id in (select wanted from by_uuid where wanted is not null)
    union all
    select * from audit where other_job_id in (select wanted from by_text where wanted is not null)
)

select
    occurred_at as "at",
    action,
    queue,
    job_name,
    coalesce(job_id::varchar, other_job_id) as job_id,
    attempt,
    duration_ms::double as duration_ms,
    waited_ms::double as waited_ms,
    error_type,
    fingerprint,
    error,
    actor,
    outcome,
    detail,
    replace(trace_id::varchar, '-', '') as trace_id
from event
order by occurred_at, id
