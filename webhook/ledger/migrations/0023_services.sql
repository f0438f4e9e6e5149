-- Services: which machine serves which one, which replica sends it requests, and how many wait.

alter table workers add column serves boolean not null default false;  -- whether its agent can run servers of services

-- Replicas of the control plane. What one has written below lives as long as its row.
create table replicas (
    id text primary key,                -- drawn by the process
    token_hash bytea not null unique,   -- SHA-256 of the token with which it calls the others
    url text not null,                  -- by which others reach it; empty: they cannot
    until timestamptz not null          -- it has to come again before
);

-- A machine serves one service at most.
create table service_machines (
    worker_id bigint primary key references workers on delete cascade,
    service text not null,
    idle_seconds float8 not null,       -- for which it is kept after its last request
    used_at timestamptz not null,       -- when it was given, or its last request ended
    state text not null default 'given' check (state in ('given', 'loading', 'starting', 'ready', 'failing')),
    message text not null default '',   -- why it fails
    log text not null default '',       -- the end of its server's output, where it fails
    address text not null default ''    -- where its gate is, as its worker says
);
create index service_machines_service on service_machines (service);

-- Replicas at which a tunnel of a machine ends.
create table service_ways (
    worker_id bigint not null references service_machines on delete cascade,
    replica_id text not null references replicas on delete cascade,
    service text not null,
    primary key (worker_id, replica_id)
);
create index service_ways_replica on service_ways (replica_id);

-- The requests that a machine works on at once: each of its slots is one replica's.
create table service_slots (
    worker_id bigint not null references service_machines on delete cascade,
    slot int not null,
    replica_id text not null references replicas on delete cascade,
    primary key (worker_id, slot)
);
create index service_slots_replica on service_slots (replica_id);

create table service_loads (
    replica_id text not null references replicas on delete cascade,
    service text not null,
    waiting int not null,
    in_flight int not null,
    primary key (replica_id, service)
);
