-- The tables of a snapshot. Whoever changes a line raises SCHEMA_VERSION in schema.py: work files are then rebuilt.
-- No keys and no indexes: ids are unique because the watermark moves in the transaction that adds the rows.
-- A column cannot be called `at` or `rows`, which DuckDB keeps for itself.

create table snapshot_meta (
    schema_version integer not null,
    -- Changes with every change of content; tells whether the newest published file is this one.
    edition varchar not null,
    watermark bigint not null,
    ai_watermark bigint not null,
    row_count bigint not null,
    ai_row_count bigint not null,
    -- Everything that happened since then is here; older rows are gone.
    kept_from timestamptz not null,
    exported_at timestamptz not null
);

create table audit (
    id bigint not null,
    occurred_at timestamptz not null,
    action varchar not null,
    queue varchar,
    job_name varchar,
    job_id uuid,
    -- Ids of jobs that are not UUIDs, as they are.
    other_job_id varchar,
    attempt integer,
    -- Null where no run came to an end: a lost worker's duration is not known.
    duration_ms float,
    waited_ms float,
    error_type varchar,
    fingerprint varchar,
    -- The first 200 characters.
    error varchar,
    -- Where a job begins and where it fails: the other rows have their job's.
    trace_id uuid,
    actor varchar,
    outcome varchar,
    -- JSON of operators' actions and of queue.metrics, without anything that may be secret.
    detail varchar
);

create table ai_run (
    id bigint not null,
    started_at timestamptz not null,
    finished_at timestamptz,
    job_id varchar,
    attempt integer,
    task varchar,
    article_id bigint,
    provider varchar,
    model varchar,
    status varchar,
    call_count integer,
    input_tokens bigint,
    output_tokens bigint,
    cost_micro_usd bigint,
    duration_ms float,
    error_type varchar,
    trace_id varchar
);
