-- Every statement of the ledger. Each block is named, says what it does, and is prepared once a connection.
-- A transaction that waits for rows of several objects locks them in the order (pipeline_id, key), and counters after
-- them in the order (pipeline_id, name): no two wait for each other.

-- name: record
-- Take in events, at most one a pipeline and key. An event is dropped (its row is locked, but not returned) when it is
-- the delivery heard last, or proven older than the newest content known.
insert into objects as o (
    pipeline_id, key, state, lane, due_at, heard_at, verdict, mark, heard_etag, heard_size, scheme, ordinal, newest_at
)
select e.pipeline_id, e.key, 'pending', e.lane, moment.now, moment.now, 'accepted', e.mark,
       case e.lane when 'work' then e.etag end, e.size, e.scheme, e.ordinal, e.modified
from unnest($1::smallint[], $2::text[], $3::lane[], $4::bytea[], $5::text[], $6::bigint[], $7::text[], $8::bytea[],
            $9::timestamptz[]) as e (pipeline_id, key, lane, mark, etag, size, scheme, ordinal, modified),
     (select yurt_now() as now offset 0) as moment
on conflict (pipeline_id, key) do update set
    verdict = case
        when o.state = 'pending' or o.again then 'coalesced'
        when o.state = 'parked' then 'replaced'
        else 'accepted' end,
    state = case when o.state = 'leased' then o.state else 'pending' end,
    lane = case when o.state = 'leased' then o.lane else excluded.lane end,
    due_at = case o.state
        when 'leased' then o.due_at
        when 'pending' then least(o.due_at, excluded.due_at)
        else excluded.due_at end,
    attempts = case when o.state = 'leased' then o.attempts else 0 end,
    faults = case when o.state = 'leased' then o.faults else 0 end,
    error = case when o.state = 'leased' then o.error end,
    again = o.state = 'leased',
    again_lane = case when o.state = 'leased' then excluded.lane end,
    heard_at = case when o.state = 'pending' then o.heard_at else excluded.heard_at end,
    mark = excluded.mark,
    heard_etag = case
        when (o.state = 'pending' or o.again) and o.heard_etag is distinct from excluded.heard_etag then null
        else excluded.heard_etag end,
    heard_size = excluded.heard_size,
    scheme = coalesce(excluded.scheme, o.scheme),
    ordinal = case when excluded.scheme is null then o.ordinal else excluded.ordinal end,
    newest_at = greatest(o.newest_at, excluded.newest_at)
where o.mark <> excluded.mark
  -- Version.is_older_than, in SQL.
  and not coalesce(
      case when o.scheme is null and excluded.scheme is null then excluded.newest_at < date_trunc('second', o.newest_at)
           else o.scheme = excluded.scheme and excluded.ordinal < o.ordinal end, false)
returning o.pipeline_id, o.key, o.verdict;

-- name: dropped
-- Of events that record dropped: which were the delivery heard last? The others were proven old.
select o.pipeline_id, o.key, o.mark = e.mark as duplicate
from unnest($1::smallint[], $2::text[], $3::bytea[]) as e (pipeline_id, key, mark)
join objects as o using (pipeline_id, key);

-- name: quarantine
-- Keep what could not be read. The same text again only counts.
insert into quarantine as q (source, reason, raw, digest, times)
select * from unnest($1::text[], $2::text[], $3::bytea[], $4::bytea[], $5::bigint[])
on conflict (source, digest) do update
    set times = q.times + excluded.times, received_at = excluded.received_at, reason = excluded.reason;

-- name: count
-- Add to the counters, in the transaction that they tell of, and tell every replica in which pipelines something is due:
-- one notification a transaction, since one a row halves the rate. With no such pipeline nobody is told.
with counted as (
    insert into tally as t (shard, pipeline_id, name, value)
    select $1::smallint, * from unnest($2::smallint[], $3::text[], $4::bigint[])
    on conflict (pipeline_id, name, shard) do update set value = t.value + excluded.value
)
select pg_notify('yurt_due', $5) where $5 <> '';

-- name: claim
-- Lease up to $3 objects of one pipeline and lane that are due, oldest first. Nobody waits for a row that another takes.
update objects as o set
    state = 'leased',
    worker_id = $4,
    token = nextval('lease_tokens'),
    deadline = (select yurt_now()) + make_interval(secs => $5),
    attempts = least(o.attempts + 1, 32000)
where o.id = any (array(  -- not a join: for that the planner reads the whole table when it does not know $3
    select id from objects
    where pipeline_id = $1 and lane = $2 and state = 'pending' and due_at <= (select yurt_now())
      and ($4::bigint is null or exists (select from workers where id = $4 and state = 'ready'))
    order by due_at
    limit $3
    for update skip locked
))
returning o.id, o.token, o.key, o.attempts, o.heard_etag, o.newest_at, o.done_etag;

-- name: lock_leased
-- The rows that settlements name, locked; only those whose lease is still the one named.
select o.id, o.pipeline_id, o.key, o.lane, o.attempts, o.faults, o.again, o.again_lane, o.heard_etag, s.position
from unnest($1::bigint[], $2::bigint[], $3::bigint[]) with ordinality as s (id, token, worker_id, position)
join objects as o on o.id = s.id
where o.state = 'leased' and o.token = s.token and o.worker_id is not distinct from s.worker_id
order by o.pipeline_id, o.key, s.position
for update of o;

-- name: lock_expired
-- Leases whose deadline passed, longest ago first. Nobody waits for a row that another settles just now.
select o.id, o.pipeline_id, o.lane, o.attempts, o.faults, o.again, o.again_lane, o.heard_etag
from objects as o
where o.state = 'leased' and o.deadline < (select yurt_now())
order by o.deadline
limit $1
for update of o skip locked;

-- name: lock_of_worker
-- All leases of one worker.
select o.id, o.pipeline_id, o.lane, o.attempts, o.faults, o.again, o.again_lane, o.heard_etag
from objects as o
where o.state = 'leased' and o.worker_id = $1
order by o.pipeline_id, o.key
for update of o;

-- name: settle
-- Write what became of leased rows that this transaction has locked, and count as above: one round trip for both.
with settled as (
    update objects as o set
        state = s.state,
        lane = s.lane,
        due_at = moment.now + make_interval(secs => s.delay_seconds),
        heard_at = case when s.restart then moment.now else o.heard_at end,
        attempts = least(s.attempts, 32000),
        faults = least(s.faults, 32000),
        again = false, again_lane = null,
        worker_id = null, deadline = null,
        error = s.error,
        done_etag = case when s.forget then null else coalesce(s.done_etag, o.done_etag) end,
        done_modified = case when s.forget then null else coalesce(s.done_modified, o.done_modified) end,
        done_at = case when s.finished then moment.now else o.done_at end,
        published = case when s.forget then null else coalesce(s.published, o.published) end,
        -- A key that comes back after it was gone starts anew. What was heard while that was found out is of the new one.
        newest_at = case when s.forget and not s.restart then null else greatest(o.newest_at, s.done_modified) end,
        scheme = case when s.forget and not s.restart then null else o.scheme end,
        ordinal = case when s.forget and not s.restart then null else o.ordinal end
    from json_to_recordset($6::json) as s (  -- one document is sooner written and read than thirteen arrays
             id bigint, state object_state, lane lane, delay_seconds float8, restart boolean, attempts int, faults int,
             error jsonb, done_etag text, done_modified timestamptz, published jsonb, finished boolean, forget boolean
         ),
         (select yurt_now() as now offset 0) as moment
    where o.id = s.id
), counted as (
    insert into tally as t (shard, pipeline_id, name, value)
    select $1::smallint, * from unnest($2::smallint[], $3::text[], $4::bigint[])
    on conflict (pipeline_id, name, shard) do update set value = t.value + excluded.value
)
select pg_notify('yurt_due', $5) where $5 <> '';

-- name: extend
-- Grant a live lease more time, and tell whether a newer event came. No row: the lease is lost.
update objects set deadline = yurt_now() + make_interval(secs => $4)
where id = $1 and state = 'leased' and token = $2 and worker_id is not distinct from $3
returning again;

-- name: lease
-- One live lease with what is known of its outputs. No row: the lease is lost.
select o.id, o.pipeline_id, o.key, o.token, o.published
from objects as o
where o.id = $1 and o.state = 'leased' and o.token = $2 and o.worker_id is not distinct from $3;

-- name: pipeline
-- The number of a pipeline on a bucket, given one at first use.
with known as (
    select id from pipelines where name = $1 and bucket = $2
), made as (
    insert into pipelines (name, bucket) select $1, $2 where not exists (select from known)
    on conflict (name, bucket) do update set name = excluded.name
    returning id
)
select id from known union all select id from made;

-- name: totals
-- All counters.
select p.name as pipeline, t.name, sum(t.value)::bigint as value
from tally as t left join pipelines as p on p.id = t.pipeline_id
group by 1, 2;

-- name: standing
-- How many objects are in each state now, a scan of the index or table: for conservation and status.
select p.name as pipeline, o.state::text, count(*) as objects, count(*) filter (where o.again) as again
from objects as o join pipelines as p on p.id = o.pipeline_id
group by 1, 2;

-- name: oldest
-- For how many seconds the longest waiting object of each pipeline has been due.
select p.name as pipeline, greatest(0, extract(epoch from yurt_now() - d.due_at))::float8 as seconds
from pipelines as p,
     lateral (
         select due_at from objects
         where pipeline_id = p.id and lane = 'work' and state = 'pending' order by due_at limit 1
     ) as d;

-- name: parked
-- Parked objects of all pipelines, newest first.
select o.id, p.name as pipeline, p.bucket, o.key, o.attempts, o.error, o.due_at as parked_at
from objects as o join pipelines as p on p.id = o.pipeline_id
where o.state = 'parked'
order by o.due_at desc
limit $1;

-- name: demand
-- What a pool has to do: leased objects, and pending ones that are due, counted up to a limit.
select
    (select count(*) from objects where state = 'leased' and lane = 'work' and pipeline_id = any ($1::smallint[])) as leased,
    coalesce((
        select sum(due.objects)
        from unnest($1::smallint[]) as p (id),
             lateral (
                 select count(*) as objects from (
                     select from objects
                     where pipeline_id = p.id and lane = 'work' and state = 'pending' and due_at <= (select yurt_now())
                     order by due_at limit $2  -- in the index's order, lest what is done be read to find what waits
                 ) as waiting
             ) as due
    ), 0)::bigint as pending;

-- name: intend
-- Write the intent to mint one machine, unless its pool is full. The caller holds the pool's advisory lock.
insert into workers (pool, provider, label, state, slots, once_hash)
select $1, $2, $3, 'intended', $4, $5
where (select count(*) from workers where pool = $1 and state <> 'gone') < $6
returning id;

-- name: lock_pool
-- One intent at a time a pool, whatever replica writes it.
select pg_advisory_xact_lock(hashtextextended('yurt pool ' || $1, 0));

-- name: machines
-- Every machine that is not gone, with the leases it holds.
select w.id, w.label, w.pool, w.provider, w.ref, w.state, nullif(w.reason, '') as reason,
       extract(epoch from n.now - w.created_at)::float8 as age_seconds,
       extract(epoch from n.now - w.state_at)::float8 as state_seconds,
       coalesce(l.leased, 0) as leased,
       case when l.leased > 0 or w.ready_at is null then 0
            else extract(epoch from n.now - greatest(w.ready_at, w.active_at)) end::float8 as idle_seconds,
       extract(epoch from n.now - coalesce(w.seen_at, w.created_at))::float8 as silent_seconds
from workers as w
cross join (select yurt_now() as now) as n
left join (
    select worker_id, count(*) as leased from objects where state = 'leased' and worker_id is not null group by 1
) as l on l.worker_id = w.id
where w.state <> 'gone'
order by w.id;

-- name: minted
-- The provider took the order and named the machine.
update workers set
    ref = $2,
    state = case state when 'intended' then 'booting' else state end,
    state_at = case state when 'intended' then yurt_now() else state_at end
where id = $1 and state <> 'gone' returning id;

-- name: drain
-- From this commit on the machine gets no more leases.
update workers set state = 'draining', reason = 'idle', state_at = yurt_now()
where id = $1 and state = 'ready' returning id;

-- name: slaying
-- The machine is to be destroyed: its tokens are worth nothing from this commit on.
update workers set state = 'slaying', reason = $2, state_at = yurt_now(), token_hash = null
where id = $1 and state = $3 and state not in ('slaying', 'gone') returning id;

-- name: gone
-- The provider's own list no longer shows the machine.
update workers set state = 'gone', state_at = yurt_now() where id = $1 and state = 'slaying' returning id;

-- name: hello
-- A machine calls home with its one-time token. The same instance may again, when the answer was lost; another may not.
update workers set
    state = case when state in ('intended', 'booting') then 'ready' else state end,
    state_at = case when state in ('intended', 'booting') then yurt_now() else state_at end,
    ready_at = coalesce(ready_at, yurt_now()), seen_at = yurt_now(), instance = $2, token_hash = $3
where once_hash = $1 and state in ('intended', 'booting', 'ready', 'draining') and (instance is null or instance = $2)
returning id, pool, slots, label;

-- name: authenticate
-- Whose token it is, and whether that worker may take more work. Notes that it was heard of.
update workers set seen_at = yurt_now() where token_hash = $1 and state in ('ready', 'draining')
returning id, pool, state, label;

-- name: active
-- The worker got or settled a lease just now.
update workers set active_at = yurt_now() where id = $1;

-- name: workers_standing
-- Machines that are not gone, by pool and state.
select pool, state, count(*) as machines from workers where state <> 'gone' group by 1, 2;

-- name: due
-- Which of these pipelines have something due in a lane.
select p.id
from unnest($1::smallint[]) as p (id)
where (select yurt_now()) >= (
    select due_at from objects
    where pipeline_id = p.id and lane = $2 and state = 'pending' order by due_at limit 1
);

-- name: balance
-- Counters beside what stands in the rows, in one snapshot: all that came in must be somewhere.
with counted as (
    select pipeline_id, name, sum(value) as value from tally group by 1, 2
), stood as (
    select pipeline_id,
           count(*) filter (where state in ('pending', 'leased', 'parked')) + count(*) filter (where again) as units
    from objects group by 1
)
select
    coalesce(sum(value) filter (where name = 'received'), 0)::bigint
        - coalesce(sum(value) filter (where name in
            ('accepted', 'coalesced', 'duplicate', 'stale', 'ignored', 'quarantined')), 0)::bigint as events,
    coalesce(sum(value) filter (where name = 'accepted'), 0)::bigint
        - coalesce(sum(value) filter (where name in ('done', 'unchanged', 'superseded', 'gone')), 0)::bigint
        - (select coalesce(sum(units), 0) from stood)::bigint as changes
from counted;

-- name: minted_ever
-- Machines that providers accepted, and those of them that are gone again.
select pool, count(*) as minted, count(*) filter (where state = 'gone') as slain
from workers where ref is not null group by 1;

-- name: ready
-- Whether the ledger answers and has its schema.
select 1 from schema_version limit 1;
