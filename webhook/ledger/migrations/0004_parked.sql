-- People look through what is parked and what is in quarantine page by page, newest first.

drop index objects_parked;
create index objects_parked on objects (due_at, id) where state = 'parked';
create index quarantine_received on quarantine (received_at, id);
