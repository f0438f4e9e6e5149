-- Definitions: which pipelines, pools and models there are and were, each with its owner.

create table definition_changes (
    revision bigint primary key generated always as identity,  -- one writer at a time: in the order of commits
    owner text not null,
    version int not null,               -- of the owner's set: 1, 2, 3 …
    note text not null,
    changed_by text not null,
    changed_at timestamptz not null default yurt_now(),
    unique (owner, version)
);

create table definitions (
    id bigint primary key generated always as identity,
    kind text not null,                 -- pipelines, pools, models …
    name text not null,
    owner text not null,
    body json not null,                 -- as its owner wrote it, without defaults
    since bigint not null references definition_changes,
    until bigint references definition_changes  -- null: it holds now
);
create unique index definitions_now on definitions (kind, name) where until is null;
create index definitions_owner on definitions (owner, since);

alter table objects add column definition bigint;  -- of the pipeline, under which it is leased or was leased last
