-- Which articles' figures of which days do the events that were just sorted in change?
-- Grain: one row per day and article (an insert).
-- Parameters: :first, :last ids, :stamp moment of sorting

insert into analytics_dirty_key (kind, day, article_id)
select distinct 'article', day, article_id
from analytics_event
where
    id between :first and :last
    and sorted_at = :stamp
    and problem is null
    and kind in ('page_view', 'read', 'share')
