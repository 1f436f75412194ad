-- Which waiting events of a range of ids belong to which day of the site, and which cannot be counted?
-- Grain: one row per event of the range that is still waiting (an update).
-- Parameters: :first, :last ids, :stamp moment of sorting, :zone time zone of the calendar, :earliest, :latest allowed moments

update analytics_event
set
    sorted_at = :stamp,
    day = (
        select calendar.day
        from analytics_day as calendar
        where calendar.time_zone = :zone and calendar.starts_at <= analytics_event.occurred_at
        order by calendar.starts_at desc
        limit 1
    ),
    query_key = (
        select form.query_key
        from analytics_query_form as form
        where form.query = analytics_event.query
    ),
    problem = case
        when kind not in ('page_view', 'read', 'share', 'search', 'search_click') then 'unknown kind'
        when occurred_at < :earliest then 'too old'
        when occurred_at > :latest then 'in the future'
        when kind in ('page_view', 'read', 'share') and article_id is null then 'no article_id'
        when kind in ('search', 'search_click') and coalesce(trim(query), '') = '' then 'no query'
        when kind = 'read' and (seconds is null or seconds < 0 or seconds > 86400) then 'seconds out of range'
    end
where id between :first and :last and sorted_at is null
