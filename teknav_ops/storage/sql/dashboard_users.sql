-- How many different signed-in readers came in a span of days?
-- Grain: one row per span.
-- Parameters: :first, :last days

select count(distinct user_id) as user_count
from user_engagement_daily
where day between :first and :last
