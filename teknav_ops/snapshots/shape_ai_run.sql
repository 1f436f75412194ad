-- Rows as they came from SQL, in the types of the snapshot.
select
    id,
    make_timestamptz(occurred_us),
    make_timestamptz(nullif(finished_us, -1)),
    nullif(job_id, ''),
    attempt,
    task,
    nullif(article_id, -1),
    provider,
    model,
    status,
    call_count,
    input_tokens,
    output_tokens,
    nullif(cost_micro_usd, -1),
    case when duration_ms >= 0 then duration_ms end,
    nullif(error_type, ''),
    nullif(trace_id, '')
from incoming
