-- Rows as they came from SQL, in the types of the snapshot.
select
    id,
    make_timestamptz(occurred_us),
    action,
    nullif(queue, ''),
    nullif(job_name, ''),
    case when job_uuid::varchar = job_id then job_uuid end,
    case when job_uuid::varchar = job_id then null else nullif(job_id, '') end,
    nullif(attempt, -1),
    -- WorkerLost is recorded with a duration of 0, because something must be.
    case when duration_ms >= 0 and error_type <> 'WorkerLost' then duration_ms end,
    case when waited_ms >= 0 then waited_ms end,
    nullif(error_type, ''),
    nullif(fingerprint, ''),
    nullif(error, ''),
    try_cast(trace_id as uuid),
    nullif(actor, ''),
    nullif(outcome, ''),
    nullif(detail, '')
from (select *, try_cast(job_id as uuid) as job_uuid from incoming)
