-- When each step of a machine's cold start was over.

alter table workers
    add column rented_at timestamptz,   -- the provider had taken the order
    add column process_seconds real,    -- how long its process had run when it called home first, by its own word
    add column asked_at timestamptz,    -- it first asked for work: its models were there
    add column leased_at timestamptz,   -- its first lease
    add column result_at timestamptz;   -- it settled a lease with a result
