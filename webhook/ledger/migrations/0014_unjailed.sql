-- Workers whose machine cannot jail handlers.

alter table workers
    add column unjailed text not null default '';  -- why, in the worker's words, as its process last called home; empty: it jails them
