-- Answers of services that a client fetches later.

create table service_answers (
    id text primary key,                -- drawn, and told to the client
    service text not null,
    replica_id text not null,           -- the replica of the control plane that has the request; no reference: it may end
    state text not null default 'pending' check (state in ('pending', 'done', 'failed')),
    bucket text not null,               -- where the body is, once it is done
    key text not null,
    status smallint not null default 0, -- of a done one
    headers jsonb not null default '[]',
    bytes bigint not null default 0,    -- of its body
    error text not null default '',     -- of a failed one: a code, and a sentence
    message text not null default '',
    expires_at timestamptz not null
);
create index service_answers_expiry on service_answers (expires_at);
