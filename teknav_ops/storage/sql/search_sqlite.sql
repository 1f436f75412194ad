-- Which published texts answer a query, best first?
-- Grain: one row per article and language.
-- Parameters: :match FTS5 expression, :language '' for any, :limit, :offset

select
    document.article_id,
    document.language,
    document.title,
    document.body,
    -bm25(search_text, 5.0, 1.0) as score
from search_text
inner join search_document as document on document.id = search_text.rowid
where
    search_text match :match
    and (:language = '' or document.language = :language)
order by score desc, document.article_id
limit :limit offset :offset
