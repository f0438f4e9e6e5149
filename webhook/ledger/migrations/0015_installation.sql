-- Which installation this is among those of the same name, and their machines at its providers.

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
