-- Machines that are there before the work: who wishes for them, what arrives when, why each machine was minted.

alter table workers
    add column cause text not null default 'demand',  -- why it was minted: demand, minimum, schedule, wake, learned
    add column usd_before_lease numeric;              -- what it had cost when it got its first lease; null: it has had none

create table wishes (
    pool text not null,
    machines int not null,
    until timestamptz not null,
    primary key (pool, machines)
);

-- Kept when rows of machines are pruned.
create table pruned_ahead (
    pool text not null,
    cause text not null,
    minted bigint not null,
    helped bigint not null,           -- of these got a lease
    usd numeric not null,             -- what they cost before that
    primary key (pool, cause)
);

create table arrivals (
    pipeline_id smallint not null,
    hour timestamptz not null,        -- at which it begins
    changes bigint not null,          -- accepted in it
    primary key (pipeline_id, hour)
);

-- How far the counters of accepted changes are in "arrivals".
create table counted_arrivals (
    pipeline_id smallint primary key,
    changes bigint not null,
    since timestamptz not null        -- when counting began
);
