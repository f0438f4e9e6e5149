-- Listings that are compared with the ledger, and what is left of rows that were pruned.

create table sweeps (
    id bigint primary key generated always as identity,
    pipeline_id smallint not null references pipelines,
    kind text not null check (kind in ('backfill', 'recent', 'full')),
    scheduled boolean not null,             -- ordered by the control plane itself, not by a person
    prefix text collate "C" not null,
    since timestamptz,                      -- only what was written after that
    new_since timestamptz,                  -- what the ledger has no row of: only if it was written after that
    dry_run boolean not null,
    pages_per_second real not null,         -- 0: as fast as it goes
    state text not null default 'wanted' check (state in ('wanted', 'running', 'done', 'failed', 'cancelled')),
    stage text not null default 'inputs' check (stage in ('inputs', 'outputs')),
    cursor text collate "C" not null default '',  -- the last key of this stage that is done
    adopts boolean,                         -- whether there may be results of before; null: not looked yet
    failures smallint not null default 0,   -- in a row
    due_at timestamptz not null default yurt_now(),
    pages bigint not null default 0,
    listed bigint not null default 0,
    known bigint not null default 0,
    found bigint not null default 0,
    adopted bigint not null default 0,
    missing bigint not null default 0,
    orphaned bigint not null default 0,
    removed bigint not null default 0,
    error text,                             -- of the last failure
    created_at timestamptz not null default yurt_now(),
    started_at timestamptz,
    finished_at timestamptz
);
create index sweeps_active on sweeps (due_at) where state in ('wanted', 'running');
create index sweeps_latest on sweeps (pipeline_id, kind, id);

-- What was in a bucket before its pipeline is not found by sweeps of the control plane's own accord.
alter table pipelines add column created_at timestamptz not null default yurt_now();

-- Machines whose rows were pruned: what was counted must not be counted backwards.
create table pruned_workers (
    pool text primary key,
    minted bigint not null,
    slain bigint not null
);
