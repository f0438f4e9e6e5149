-- Workers that hoard, give back for ever, or lie: what is counted for each object and each worker.

alter table objects
    add column returns smallint not null default 0,  -- leases since the last change that ended without a result and counted as no attempt
    add column given_up_by bigint,        -- worker on whose word alone the object would be parked: another one tries it first
    add column done_by bigint;            -- worker that reported the last result; null: adopted from a manifest

-- By worker, since each claim counts its worker's leases. Few rows are leased: the reaper reads all of them.
drop index objects_deadline;
create index objects_leased on objects (worker_id, deadline) where state = 'leased';

alter table workers
    add column suspicion text not null default '';  -- in words, why it is drained or was revoked as a worker not to be trusted

-- How each worker's latest leases ended, by pipeline.
create table track_records (
    worker_id bigint not null,
    pipeline_id smallint not null,
    good real not null,                   -- leases that ended with a result, recent ones; older ones fade
    bad real not null,                    -- leases that did not
    primary key (worker_id, pipeline_id)
);
