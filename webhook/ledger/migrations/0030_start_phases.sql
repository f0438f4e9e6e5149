-- When a machine's models of checks were in memory, and when its first server of a service was ready.

alter table workers
    add column load_seconds real,               -- what loading models of checks has taken until its first result, by its word
    add column service_ordered_at timestamptz,  -- its worker first said anything of a server: the order had come
    add column service_weights_at timestamptz,  -- that server's models were there
    add column service_ready_at timestamptz;    -- a server took requests
