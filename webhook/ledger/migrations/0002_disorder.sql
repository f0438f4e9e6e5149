-- What it takes to tell an answer that is late from one that is new, on a store whose regions may lag behind each other;
-- and objects that a person has dismissed.

alter type object_state add value 'forgotten';  -- was parked, and a person said to leave it

alter table objects
    add column leased_at timestamptz,     -- of this lease or of the last one: what was read is not older than that
    add column seen_at timestamptz,       -- the last time that an event or a read said that it exists
    add column touched boolean not null default false,  -- a lease was told where to publish and has not settled since:
                                          -- what is published may be of any content, or of several
    add column ordinal_latest bytea;      -- of the last event heard: where its order is an interval, the interval's end
