-- What did AI runs cost, in tokens and dollars?
-- Grain: one row per model, task, job, article or day (UTC), whichever is asked for, dearest first.
-- Parameters: $by, $since, $until

select
    case $by
        when 'model' then provider || '/' || model
        when 'task' then task
        when 'job' then job_id
        when 'article' then article_id::varchar
        when 'day' then strftime(started_at, '%Y-%m-%d')
    end as key,
    count(*) as runs,
    count(*) filter (status = 'succeeded') as succeeded,
    count(*) filter (status = 'failed') as failed,
    count(*) filter (status = 'stopped') as stopped,
    coalesce(sum(call_count), 0)::bigint as calls,
    coalesce(sum(input_tokens), 0)::bigint as input_tokens,
    coalesce(sum(output_tokens), 0)::bigint as output_tokens,
    coalesce(sum(cost_micro_usd), 0)::bigint / 1e6 as cost_usd,
    coalesce(sum(cost_micro_usd) filter (status <> 'succeeded'), 0)::bigint / 1e6 as wasted_usd,
    count(*) filter (cost_micro_usd is null) as unpriced_runs
from ai_run
where started_at >= $since and started_at < $until
group by key
order by cost_usd desc, runs desc, key
