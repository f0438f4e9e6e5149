-- The outbox of callbacks: what apps are to be told, one row for each settle of a pipeline that has a callback.

create type callback_state as enum ('waiting', 'told', 'given-up');

create table callbacks (
    id bigint primary key generated always as identity,
    message uuid not null default gen_random_uuid(),    -- the same at each attempt: receivers know repetitions by it
    position bigint not null,           -- in the log of settles: of two callbacks of an object the greater is the later
    pipeline_id smallint not null,
    object_id bigint not null,
    key text collate "C" not null,
    settled_as object_state not null,   -- done, parked or gone
    etag text,                          -- of the result's input
    token bigint,                       -- of the lease that was settled
    reason text,                        -- of a parked object
    explanation text,
    settled_at timestamptz not null,
    state callback_state not null default 'waiting',
    attempts int not null default 0,    -- also the fence: an outcome of an earlier attempt changes nothing
    first_at timestamptz,               -- first attempt
    due_at timestamptz not null,        -- next attempt; while one is under way, when another may begin
    ended_at timestamptz,               -- told or given up
    status int,                         -- HTTP status of the last answer
    error text,                         -- why the last attempt failed
    unique (pipeline_id, position)
) with (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_vacuum_threshold = 5000
);
create index callbacks_due on callbacks (pipeline_id, due_at) where state = 'waiting';
create index callbacks_in_order on callbacks (object_id, position);
create index callbacks_ended on callbacks (ended_at) where state <> 'waiting';

-- How far the outbox of a pipeline has followed the log of settles, and what became of the callbacks.
create table callback_feeds (
    pipeline_id smallint primary key,
    position bigint not null,           -- everything up to here is in the outbox
    fed_at timestamptz not null,        -- when it was moved last
    fed bigint not null default 0,      -- callbacks ever put into the outbox
    told bigint not null default 0,
    given_up bigint not null default 0,
    off_for bytea,                      -- hash of the URL that answered 410: it is told nothing more
    off_at timestamptz
);
