-- Requests of services count among what arrives, from which pools learn when work is likely.

create table service_arrivals (
    service text not null,
    hour timestamptz not null,        -- at which it begins
    requests bigint not null,         -- that came in it
    primary key (service, hour)
);

-- Services whose requests are counted.
create table counted_services (
    service text primary key,
    since timestamptz not null        -- when counting began
);
