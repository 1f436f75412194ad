-- How much was viewed, read, shared and searched on each day, and by how many visitors?
-- Grain: one row per day of the site with at least one event.
-- Parameters: :first, :last days

select
    day,
    sum(case when kind = 'page_view' then 1 else 0 end) as view_count,
    count(distinct case when kind = 'page_view' then visitor_id end) as visitor_count,
    sum(case when kind = 'read' then 1 else 0 end) as read_count,
    sum(case when kind = 'share' then 1 else 0 end) as share_count,
    sum(case when kind = 'search' then 1 else 0 end) as search_count,
    count(distinct user_id) as user_count
from analytics_event
where day between :first and :last and problem is null
group by day
order by day
