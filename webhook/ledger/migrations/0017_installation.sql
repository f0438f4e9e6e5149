-- Which installation this is among those of the same name, their machines at its providers, and the results of a day.

create table installation (
    single boolean primary key default true check (single),
    id text not null default substr(replace(gen_random_uuid()::text, '-', ''), 1, 8)  -- a part of the labels of its machines
);

insert into installation default values;

-- Machines of other installations of the same name, as the providers' lists showed them last.
create table strangers (
    provider text not null,
    label text not null,
    ref text not null,                    -- the provider's own name
    slay boolean not null default false,  -- an operator wants it slain
    primary key (provider, label)
);

-- With how many results each pipeline began the day, so that what a result costs can be told.
create table day_starts (
    pipeline_id smallint primary key,
    day date not null,                    -- UTC
    done bigint not null                  -- results that it ever had by then
);
