-- Tokens of apps: what each may do, how often, and when it was used last.

create table app_tokens (
    id bigint primary key generated always as identity,
    name text not null,
    token_hash bytea not null unique,   -- SHA-256 of the token, which is shown once and kept nowhere
    hint text not null,                 -- how the token begins, so that a person finds it again
    scopes text[] not null,
    calls_per_second float8 not null,
    burst_calls int not null,
    created_at timestamptz not null default yurt_now(),
    expires_at timestamptz,             -- null: never
    revoked_at timestamptz,
    used_at timestamptz                 -- written once a minute at most
);
