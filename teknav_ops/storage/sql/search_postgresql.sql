-- Which published texts answer a query, best first?
-- Grain: one row per article and language.
-- Parameters: :match tsquery expression, :language '' for any, :limit, :offset

select
    document.article_id,
    document.language,
    document.title,
    document.body,
    ts_rank(
        '{0, 0, 0.1, 1.0}',
        setweight(to_tsvector('simple', document.normalised_title), 'A')
        || setweight(to_tsvector('simple', document.normalised), 'B'),
        to_tsquery('simple', :match)
    ) as score
from search_document as document
where
    setweight(to_tsvector('simple', document.normalised_title), 'A')
    || setweight(to_tsvector('simple', document.normalised), 'B') @@ to_tsquery('simple', :match)
    and (:language = '' or document.language = :language)
order by score desc, document.article_id
limit :limit offset :offset
