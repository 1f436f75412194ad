-- Which signed-in readers' figures of which days do the events that were just sorted in change?
-- Grain: one row per day and user (an insert).
-- Parameters: :first, :last ids, :stamp moment of sorting

insert into analytics_dirty_key (kind, day, user_id)
select distinct 'user', day, user_id
from analytics_event
where
    id between :first and :last
    and sorted_at = :stamp
    and problem is null
    and user_id is not null
