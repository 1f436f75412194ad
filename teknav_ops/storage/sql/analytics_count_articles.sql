-- What do all events add up to for the articles and days that are to be counted anew?
-- Grain: one row per day and article that still exists (an upsert).
-- Parameters: :ids of analytics_dirty_key

insert into article_stats_daily
(day, article_id, view_count, unique_visitor_count, read_count, read_seconds, share_count)
select
    event.day,
    event.article_id,
    sum(case when event.kind = 'page_view' then 1 else 0 end),
    count(distinct case when event.kind = 'page_view' then event.visitor_id end),
    sum(case when event.kind = 'read' then 1 else 0 end),
    sum(case when event.kind = 'read' then event.seconds else 0 end),
    sum(case when event.kind = 'share' then 1 else 0 end)
from analytics_event as event
inner join (
    select distinct day, article_id from analytics_dirty_key where id in :ids
) as changed on changed.day = event.day and changed.article_id = event.article_id
where
    event.problem is null
    and event.kind in ('page_view', 'read', 'share')
    and exists (select 1 from article where article.id = event.article_id)
group by event.day, event.article_id
on conflict (day, article_id) do update set
    view_count = excluded.view_count,
    unique_visitor_count = excluded.unique_visitor_count,
    read_count = excluded.read_count,
    read_seconds = excluded.read_seconds,
    share_count = excluded.share_count
