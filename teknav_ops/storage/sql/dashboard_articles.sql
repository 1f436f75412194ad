-- Which articles were viewed most in a span of days?
-- Grain: one row per article.
-- Parameters: :first, :last days, :top how many

select
    article.id as article_id,
    article.title,
    article.language,
    sum(stats.view_count) as view_count,
    sum(stats.read_count) as read_count,
    sum(stats.read_seconds) as read_seconds,
    sum(stats.share_count) as share_count
from article_stats_daily as stats
inner join article on article.id = stats.article_id
where stats.day between :first and :last
group by article.id, article.title, article.language
order by view_count desc, article.id asc
limit :top
