-- Handlers that cannot run on a worker, workers that come back after a restart, and invitations for several workers.

alter table workers add column unavailable jsonb not null default '{}';  -- pipeline's number to why its handler cannot run here: message, failures, retry_at in seconds since 1970
alter table workers add column return_hash bytea;                       -- SHA-256 of the credential with which its process comes back after a restart
create unique index workers_return on workers (return_hash) where return_hash is not null;

create table invitations (
    id bigint primary key generated always as identity,
    pool text not null,
    provider text not null,           -- of its workers: they are started by people
    once_hash bytea not null unique,  -- SHA-256 of the token
    uses integer,                     -- workers that may still join; null: without end
    expires_at timestamptz,           -- null: never
    created_at timestamptz not null default yurt_now()
);
