-- The verdict of a result's checks, so that people find what is to be reviewed or was refused.

create type result_verdict as enum ('ok', 'review', 'refused');

alter table objects add column done_verdict result_verdict;  -- of the result; null: it has no checks, or is from before

-- Of what is not ok alone: the index of nearly every pipeline stays small, and settling what is ok does not touch it.
create index objects_unwanted on objects (pipeline_id, done_verdict, key) where done_verdict <> 'ok';
