-- Tickets by which browsers upload, and multipart uploads that are under way.

create table upload_tickets (
    id bigint primary key generated always as identity,
    ticket_hash bytea not null unique,      -- SHA-256 of the ticket, which is kept nowhere
    token_id bigint,                        -- the app token that it was made with; null: the admin token
    pipeline text not null,
    folder text collate "C" not null,       -- all its keys begin so, and no others
    content_types text[] not null,
    max_bytes bigint not null,              -- of one file
    uploads int not null,                   -- that it allows
    used int not null default 0,
    drawn int not null default 0,           -- numbers in its keys: grows also where an upload was given back
    created_at timestamptz not null default yurt_now(),
    expires_at timestamptz not null
);
create index upload_tickets_expiry on upload_tickets (expires_at);

create table multipart_uploads (
    id bigint primary key generated always as identity,
    store_id text not null,                 -- the store's own name of it
    pipeline text not null,
    bucket text not null,
    key text collate "C" not null,
    bytes bigint not null,
    part_bytes bigint not null,
    ticket_id bigint,                       -- null: begun with a token
    create_only boolean not null,           -- it must not replace an object
    created_at timestamptz not null default yurt_now(),
    expires_at timestamptz not null
);
create index multipart_uploads_expiry on multipart_uploads (expires_at);
