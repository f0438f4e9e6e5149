-- How minting goes, written by the leader's autoscaler, so that every replica can tell: /metrics, yurt status.

create table pool_reports (
    pool text primary key,
    breaker text not null check (breaker in ('closed', 'open', 'probing')),
    frozen boolean not null,              -- the provider's list fails or cannot be true
    failed_starts bigint not null,        -- ever
    last_failure text not null            -- why the last start failed; empty: none has
);

create table provider_reports (
    provider text primary key,
    list_failures bigint not null,        -- ever
    unknown_slain bigint not null,        -- machines ever slain that the ledger did not know
    last_error text not null              -- why the last list failed; empty: none has
);
