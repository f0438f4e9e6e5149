-- How the senders of notifications fare, written by every replica, so that `yurt status` and `yurt check` can tell of
-- a store that has another secret: what is refused leaves no other trace.

create table senders (
    source text primary key,              -- of the URL; 'unknown' where there is no such source
    taken_at timestamptz,                 -- when a notification was taken last; null: never
    refused bigint not null default 0,    -- notifications that were answered 4xx, ever
    refused_at timestamptz,               -- when one was refused last; null: never
    error text not null default '',       -- code of that answer: unauthorized, malformed, too-large …
    message text not null default ''      -- what was wrong
);

alter table pool_reports add column last_boot_log text not null default '';  -- the end of what the last machine printed that did not call home
