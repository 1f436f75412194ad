-- What do all events add up to for the queries and days that are to be counted anew?
-- Grain: one row per day and query (an upsert).
-- Parameters: :ids of analytics_dirty_key

insert into search_query_stats_daily
(day, query_key, query, search_count, unique_searcher_count, zero_result_count, click_count)
select
    event.day,
    event.query_key,
    min(event.query),
    sum(case when event.kind = 'search' then 1 else 0 end),
    count(distinct case when event.kind = 'search' then event.visitor_id end),
    sum(case when event.kind = 'search' and event.result_count = 0 then 1 else 0 end),
    sum(case when event.kind = 'search_click' then 1 else 0 end)
from analytics_event as event
inner join (
    select distinct day, query_key from analytics_dirty_key where id in :ids
) as changed on changed.day = event.day and changed.query_key = event.query_key
where event.problem is null and event.kind in ('search', 'search_click')
group by event.day, event.query_key
on conflict (day, query_key) do update set
    query = excluded.query,
    search_count = excluded.search_count,
    unique_searcher_count = excluded.unique_searcher_count,
    zero_result_count = excluded.zero_result_count,
    click_count = excluded.click_count
