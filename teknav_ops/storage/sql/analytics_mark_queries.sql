-- Which queries' figures of which days do the events that were just sorted in change?
-- Grain: one row per day and query (an insert).
-- Parameters: :first, :last ids, :stamp moment of sorting

insert into analytics_dirty_key (kind, day, query_key)
select distinct 'query', day, query_key
from analytics_event
where
    id between :first and :last
    and sorted_at = :stamp
    and problem is null
    and kind in ('search', 'search_click')
    and query_key <> ''
