-- What a worker fetches or loads before it can take work.

alter table workers
    add column loading jsonb,                              -- its last report: see WorkerProgress of the protocol
    add column loading_at timestamptz;
