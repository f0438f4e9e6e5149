-- The log of settled objects: what apps are told, in an order in which nothing is skipped.

-- "id" is drawn before a transaction commits, so a reader that goes by it would skip what commits late. "position" is
-- given afterwards, to rows that are committed, by one writer at a time: positions become visible in their order.
create table settles (
    id bigint not null generated always as identity,
    position bigint,                    -- null: not numbered yet
    object_id bigint not null,
    pipeline_id smallint not null,
    key text collate "C" not null,
    state object_state not null,        -- done, parked or gone
    changed boolean not null,           -- false: the result is the one that was there before
    etag text,                          -- of the result's input
    token bigint,                       -- of the lease that was settled
    reason text,                        -- of a parked object
    message text,
    settled_at timestamptz not null
) with (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_vacuum_threshold = 5000
);
create index settles_unnumbered on settles (id) where position is null;
create unique index settles_position on settles (position) where position is not null;

create table settle_numbering (
    single boolean primary key default true check (single),
    last bigint not null default 0,     -- position given last
    pruned bigint not null default 0    -- last position that was deleted
);
insert into settle_numbering default values;
