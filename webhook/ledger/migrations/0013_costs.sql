-- What machines are rented at, what has been spent, and which machines are avoided. Amounts are US dollars, exact.

alter table workers
    add column offer text not null default '',            -- the provider's name for what was taken
    add column machine text not null default '',          -- the provider's name for the physical machine
    add column host text not null default '',             -- the provider's name for who runs it
    add column usd_per_hour numeric not null default 0,   -- machine and disk, now
    add column usd_once numeric not null default 0,       -- paid once, when the provider has taken the order
    add column usd_spent numeric not null default 0,      -- by this machine, up to costed_at
    add column reserve_seconds int not null default 0,    -- the longest that it may cost after it was decided that it has to go
    add column costed_at timestamptz not null default yurt_now();  -- up to when its cost is in "spending"

-- Kept when rows of machines are pruned.
create table spending (
    day date not null,                                    -- UTC
    pool text not null,
    provider text not null,
    phase text not null check (phase in ('once', 'boot', 'work', 'idle')),
    pipeline text not null,                               -- of phase "work"; else empty
    usd numeric not null,
    primary key (day, pool, provider, phase, pipeline)
);

create table avoided_machines (
    provider text not null,
    machine text not null,
    host text not null,
    reason text not null,
    until timestamptz not null,
    primary key (provider, machine)
);

alter table pool_reports add column not_minted text not null default '';  -- why nothing is minted though there is work
