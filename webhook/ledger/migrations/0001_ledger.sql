-- The ledger: what is known of each object, who works on it, and what was counted. Rebuilt from the buckets if lost.

-- One clock decides: this one. A row in "clock" stops it at a moment, which tests use; in production the table is empty.
create table clock (
    stopped_at timestamptz not null
);

create function yurt_now() returns timestamptz
language sql stable
return coalesce((select stopped_at from clock limit 1), clock_timestamp());

-- Fencing tokens only grow, also across a rebuilt ledger: they start at this moment in microseconds, and no ledger gives
-- out a million leases a second for long.
create sequence lease_tokens as bigint cache 1;
select setval('lease_tokens', (extract(epoch from clock_timestamp()) * 1000000)::bigint);

create type object_state as enum (
    'pending',   -- there is work, due at due_at
    'leased',    -- one worker has it until the deadline
    'done',      -- the result is of the content heard of last
    'parked',    -- given up; the error says why, a redrive or a new event takes it up again
    'gone'       -- the store confirmed that there is no such object
);

create type lane as enum (
    'work',      -- fetch and handle: for workers
    'check'      -- ask the store whether the object is there: for the control plane
);

create table pipelines (
    id smallint primary key generated always as identity,
    name text not null,
    bucket text collate "C" not null,
    unique (name, bucket)
);

create table workers (
    id bigint primary key generated always as identity,
    pool text not null,
    provider text not null,
    label text not null unique,
    ref text,                         -- the provider's name of the machine, once it gave one
    state text not null check (state in ('intended', 'booting', 'ready', 'draining', 'slaying', 'gone')),
    reason text not null default '',  -- why it is draining, slaying or gone
    slots smallint not null,
    once_hash bytea not null,         -- SHA-256 of the one-time token it calls home with
    instance text,                    -- drawn by the process that called home first: no other may
    token_hash bytea,                 -- SHA-256 of the token of its further calls; null once revoked
    created_at timestamptz not null default yurt_now(),
    ready_at timestamptz,
    seen_at timestamptz,              -- last call of any kind
    active_at timestamptz,            -- last lease given or settled
    state_at timestamptz not null default yurt_now()
);
create unique index workers_once on workers (once_hash);
create unique index workers_token on workers (token_hash) where token_hash is not null;
create index workers_alive on workers (pool) where state <> 'gone';

create table objects (
    id bigint primary key generated always as identity,
    pipeline_id smallint not null references pipelines,
    key text collate "C" not null,
    state object_state not null,
    lane lane not null,
    due_at timestamptz not null,
    attempts smallint not null default 0,  -- in "work" leases that failed, in "check" 404s in a row; a live lease counts
    faults smallint not null default 0,    -- of the store, since the last change

    -- what was heard of it last
    heard_at timestamptz not null,
    verdict text not null,            -- of the last event heard: accepted, coalesced or replaced (a parked change)
    mark bytea not null,              -- of the last event heard
    heard_etag text,                  -- null where the events that wait disagree, or one says that it is gone
    heard_size bigint,
    scheme text,                      -- order of the newest content heard of, comparable within one scheme
    ordinal bytea,
    newest_at timestamptz,            -- Last-Modified of the newest content heard of or fetched

    -- the lease
    worker_id bigint,                 -- null for the control plane's own checks
    token bigint,                     -- of this lease or of the last one
    deadline timestamptz,
    again boolean not null default false,  -- an event came while it was leased
    again_lane lane,                  -- of the last of these events

    -- the last result
    done_etag text,                   -- of the input
    done_modified timestamptz,
    done_at timestamptz,
    published jsonb,                  -- output name to ETag
    error jsonb,                      -- of the last failure: reason, message, log

    unique (pipeline_id, key)
) with (
    fillfactor = 85,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0
);
create index objects_due on objects (pipeline_id, lane, due_at) where state = 'pending';
create index objects_deadline on objects (deadline) where state = 'leased';
create index objects_parked on objects (pipeline_id) where state = 'parked';

create table quarantine (
    id bigint primary key generated always as identity,
    source text not null,
    reason text not null,
    raw bytea not null,
    digest bytea not null,
    received_at timestamptz not null default yurt_now(),
    times bigint not null default 1,
    unique (source, digest)
);

-- Counters, in shards so that transactions of several writers seldom wait for each other. Summed when read.
create table tally (
    shard smallint not null,
    pipeline_id smallint not null,    -- 0: no pipeline concerned
    name text not null,
    value bigint not null,
    primary key (pipeline_id, name, shard)
) with (fillfactor = 50);
