-- Which leases are in a worker's handler, so that a worker that is lost costs only what may have ended it. An object that
-- may have is tried alone ('trial') before it is charged with an attempt.

alter type lane add value 'trial';        -- as 'work', but alone in the handler of its worker

alter table objects
    add column losses smallint not null default 0;  -- of leases with their worker, while it may have been in the handler

alter table workers
    add column handling bigint[],         -- tokens of the leases in its handler, as it reported last; null: never
    add column handling_alone boolean not null default false,  -- nothing else enters the handler before the next report
    add column handling_number bigint not null default 0;      -- of that report: an older one that comes late is dropped
