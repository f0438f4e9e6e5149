-- What runs printed, for people: the newest of each pipeline.

create table run_logs (
    id bigint primary key generated always as identity,
    pipeline_id smallint not null references pipelines on delete cascade,
    key text not null,
    worker_id bigint not null,        -- no reference: its row may be pruned first
    outcome text not null check (outcome in ('done', 'failed')),
    reason text not null default '',  -- of a failure
    message text not null default '',
    retry boolean not null default false,  -- whether another attempt follows, if one is left
    log text not null,                -- the end of what was printed
    ended_at timestamptz not null default yurt_now()
);
create index run_logs_newest on run_logs (pipeline_id, id);
create index run_logs_age on run_logs (ended_at);
