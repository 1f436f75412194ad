-- What did readers search for most in a span of days, and what of it was not found?
-- Grain: one row per query, whatever its spelling.
-- Parameters: :first, :last days, :only_unfound 1 for queries without any result, :top how many

select
    min(query) as query,
    sum(search_count) as search_count,
    sum(zero_result_count) as zero_result_count,
    sum(click_count) as click_count
from search_query_stats_daily
where day between :first and :last and search_count > 0
group by query_key
having :only_unfound = 0 or sum(zero_result_count) > 0
order by
    case when :only_unfound = 0 then sum(search_count) else sum(zero_result_count) end desc,
    min(query) asc
limit :top
