-- Which causes are behind the failures, when were they first and last seen, and what do they look like?
-- Grain: one row per time bucket, queue and fingerprint, of the most frequent fingerprints in the window.
-- Parameters: $queues, $since, $until, $width_ms, $top

with failure as (
    select *
    from audit
    where
        action in ('job.failed', 'job.retried')
        and fingerprint is not null
        and ($queues::varchar[] is null or list_contains($queues::varchar[], queue))
),

cause as (
    select
        queue,
        fingerprint,
        arg_max(error_type, id) as error_type,
        arg_max(error, id) as example_error,
        min(occurred_at) as first_seen_at,
        max(occurred_at) as last_seen_at,
        count(*) filter (occurred_at >= $since and occurred_at < $until) as n_in_window
    from failure
    group by queue, fingerprint
    having n_in_window > 0
    order by n_in_window desc, queue, fingerprint
    limit $top
)

select
    time_bucket(to_milliseconds($width_ms), occurred_at, timestamptz '1970-01-01 00:00:00+00') as "at",
    queue,
    fingerprint,
    any_value(cause.error_type) as error_type,
    count(*) as n,
    count(*) filter (action = 'job.failed') as failed,
    any_value(cause.n_in_window) as n_in_window,
    any_value(cause.first_seen_at) as first_seen_at,
    any_value(cause.last_seen_at) as last_seen_at,
    any_value(cause.example_error) as example_error
from failure inner join cause using (queue, fingerprint)
where occurred_at >= $since and occurred_at < $until
group by "at", queue, fingerprint
order by "at", n desc, queue, fingerprint
