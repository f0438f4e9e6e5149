-- The latest moment that the database's clock has shown. A reading before it means that the clock was set back.

create table clock_reading (
    single boolean primary key default true check (single),
    latest timestamptz not null
);

insert into clock_reading (latest) values (yurt_now());
