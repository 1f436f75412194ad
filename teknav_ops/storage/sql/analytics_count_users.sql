-- What do all events add up to for the signed-in readers and days that are to be counted anew?
-- Grain: one row per day and user (an upsert).
-- Parameters: :ids of analytics_dirty_key

insert into user_engagement_daily
(day, user_id, session_count, view_count, article_count, read_seconds, search_count, share_count)
select
    event.day,
    event.user_id,
    count(distinct event.session_id),
    sum(case when event.kind = 'page_view' then 1 else 0 end),
    count(distinct case when event.kind = 'page_view' then event.article_id end),
    sum(case when event.kind = 'read' then event.seconds else 0 end),
    sum(case when event.kind = 'search' then 1 else 0 end),
    sum(case when event.kind = 'share' then 1 else 0 end)
from analytics_event as event
inner join (
    select distinct day, user_id from analytics_dirty_key where id in :ids
) as changed on changed.day = event.day and changed.user_id = event.user_id
where event.problem is null
group by event.day, event.user_id
on conflict (day, user_id) do update set
    session_count = excluded.session_count,
    view_count = excluded.view_count,
    article_count = excluded.article_count,
    read_seconds = excluded.read_seconds,
    search_count = excluded.search_count,
    share_count = excluded.share_count
