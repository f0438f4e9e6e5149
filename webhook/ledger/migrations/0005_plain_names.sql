-- Columns by the field's own names. Rows, indexes and the values stay as they are.

alter table objects rename column heard_at to event_at;
alter table objects rename column heard_etag to event_etag;
alter table objects rename column heard_size to event_size;
alter table objects rename column again to rerun_requested;
alter table objects rename column again_lane to rerun_lane;
alter table objects rename column touched to publish_started;
