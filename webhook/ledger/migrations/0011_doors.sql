-- What strangers' requests are judged by, before and after a restart: certificates of Amazon SNS, used-up invitations.

alter table invitations add column used_at timestamptz;  -- when a worker joined by it last; null: never

create table certificates (
    url text primary key,             -- where the certificate was fetched from
    pem bytea not null,               -- has signed a genuine message
    used_at timestamptz not null default yurt_now()
);
