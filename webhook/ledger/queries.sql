-- Every statement of the ledger. Each block has a name and a description, and is prepared once for each connection. A
-- transaction that waits for rows of several objects locks them in the order (pipeline_id, key), and counters after
-- them in the order (pipeline_id, name), so that two transactions never deadlock. The time is yurt_now(), which tests
-- can stop; "(select yurt_now())" is evaluated once, so that all rows of a statement see one time.

-- name: record
-- Record events, at most one for each pipeline and key. An event is dropped (its row is locked, but not returned) when
-- it has the mark of the event recorded last, or is proven older than the newest version known. An ETag is kept only as
-- long as all events since the last result agree on it, since a read that finds it is believed at once. That the object
-- was gone is no result: a region may announce a content later than another one announces its deletion.
insert into objects as o (
    pipeline_id, key, state, lane, due_at, event_at, seen_at, verdict, mark, event_etag, event_size,
    scheme, ordinal, ordinal_latest, newest_at
)
select e.pipeline_id, e.key, 'pending', e.lane, moment.now, moment.now, case when e.there then moment.now end,
       'accepted', e.mark, e.etag, e.size, e.scheme, e.ordinal, e.latest, e.modified
from unnest($1::smallint[], $2::text[], $3::lane[], $4::bytea[], $5::text[], $6::boolean[], $7::bigint[], $8::text[],
            $9::bytea[], $10::bytea[], $11::timestamptz[])
         as e (pipeline_id, key, lane, mark, etag, there, size, scheme, ordinal, latest, modified),
     (select yurt_now() as now offset 0) as moment
on conflict (pipeline_id, key) do update set
    verdict = case
        when o.state = 'pending' or o.rerun_requested then 'coalesced'
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
    losses = case when o.state = 'leased' then o.losses else 0 end,
    returns = case when o.state = 'leased' then o.returns else 0 end,
    given_up_by = case when o.state = 'leased' then o.given_up_by end,
    error = case when o.state = 'leased' then o.error end,
    -- The worker may have read the object before this event: only another lease can tell.
    rerun_requested = o.state = 'leased',
    rerun_lane = case when o.state = 'leased' then excluded.lane end,
    event_at = excluded.event_at,
    seen_at = coalesce(excluded.seen_at, o.seen_at),
    mark = excluded.mark,
    event_etag = case
        when o.state <> 'done' and o.event_etag is distinct from excluded.event_etag then null
        else excluded.event_etag end,
    event_size = excluded.event_size,
    scheme = coalesce(excluded.scheme, o.scheme),
    ordinal = case
        when excluded.scheme is null then o.ordinal
        when excluded.scheme = o.scheme then greatest(o.ordinal, excluded.ordinal)
        else excluded.ordinal end,
    ordinal_latest = excluded.ordinal_latest,
    newest_at = greatest(o.newest_at, excluded.newest_at)
where o.mark <> excluded.mark
  -- ContentVersion.is_older_than, in SQL.
  and not coalesce(
      case when o.scheme is null and excluded.scheme is null then excluded.newest_at < date_trunc('second', o.newest_at)
           else o.scheme = excluded.scheme and excluded.ordinal_latest < o.ordinal end, false)
returning o.pipeline_id, o.key, o.verdict;

-- name: dropped
-- Why "record" dropped events: duplicates of the event recorded last, or else proven older.
select o.pipeline_id, o.key, o.mark = e.mark as duplicate
from unnest($1::smallint[], $2::text[], $3::bytea[]) as e (pipeline_id, key, mark)
join objects as o using (pipeline_id, key);

-- name: quarantine
-- Keep texts that could not be parsed. A text that is there already is only counted.
insert into quarantine as q (source, reason, raw, digest, times)
select * from unnest($1::text[], $2::text[], $3::bytea[], $4::bytea[], $5::bigint[])
on conflict (source, digest) do update
    set times = q.times + excluded.times, received_at = excluded.received_at, reason = excluded.reason;

-- name: count
-- Increment counters in the transaction whose changes they count, and notify the replicas of the pipelines ($5) in
-- which objects became due: one notification for a transaction, since one for each row halves the rate. None if $5 is
-- empty.
with counted as (
    insert into tally as t (shard, pipeline_id, name, value)
    select $1::smallint, * from unnest($2::smallint[], $3::text[], $4::bigint[])
    on conflict (pipeline_id, name, shard) do update set value = t.value + excluded.value
)
select pg_notify('yurt_due', $5) where $5 <> '';

-- name: claim
-- Claim up to $3 due objects of one pipeline and lane, oldest first. A claim skips rows that another one has locked.
-- A worker has at most $7 leases for each of its slots. What it alone gave up goes to others for $8 seconds. A read that
-- begins $6 seconds after the last event and the last result is believed in any case. $9 is the pipeline's definition,
-- which the lease keeps.
update objects as o set
    state = 'leased',
    worker_id = $4,
    token = nextval('lease_tokens'),
    leased_at = (select yurt_now()),
    deadline = (select yurt_now()) + make_interval(secs => $5),
    definition = $9,
    attempts = least(o.attempts + 1, 32000)  -- within a smallint
where o.id = any (array(  -- not a join: for that the planner reads the whole table when it does not know $3
    select id from objects
    where pipeline_id = $1 and lane = $2 and state = 'pending' and due_at <= (select yurt_now())
      and (coalesce(given_up_by <> $4, true) or due_at <= (select yurt_now()) - make_interval(secs => $8))
    order by due_at
    limit case when $4::bigint is null then $3::bigint else (
        select coalesce(max(least($3, greatest($7::bigint * w.slots - l.leased, 0))), 0)
        from workers as w, (select count(*) as leased from objects where worker_id = $4 and state = 'leased') as l
        where w.id = $4 and w.state = 'ready') end
    for update skip locked
))
returning o.id, o.token, o.key, o.attempts, o.event_etag, o.newest_at, o.publish_started,
          -- With publish_started a lost lease may have overwritten outputs: a 304 must not confirm the last result.
          case when not o.publish_started then o.done_etag end as done_etag, o.done_modified,
          o.leased_at >= greatest(o.event_at, o.done_at) + make_interval(secs => $6) as believed;

-- name: lock_leased
-- Lock the rows of the leases to be settled. Rows whose lease was lost (another token or worker) are left out.
select o.id, o.pipeline_id, o.key, o.lane, o.attempts, o.faults, o.losses, o.returns, o.worker_id, o.given_up_by,
       o.rerun_requested, o.rerun_lane, o.event_etag, o.done_etag,
       extract(epoch from o.leased_at - o.event_at)::float8 as asked_after_seconds,
       extract(epoch from o.leased_at - o.seen_at)::float8 as unseen_seconds,
       extract(epoch from yurt_now() - o.event_at)::float8 as event_age_seconds,
       s.position
from unnest($1::bigint[], $2::bigint[], $3::bigint[]) with ordinality as s (id, token, worker_id, position)
join objects as o on o.id = s.id
where o.state = 'leased' and o.token = s.token and o.worker_id is not distinct from s.worker_id
order by o.pipeline_id, o.key, s.position
for update of o;

-- fragment: in_handler
-- Whether a lease of worker w may have ended it, as far as the worker has reported: 'alone': it was on trial; 'reported':
-- in the handler beside others; 'no': beside one on trial, whose lease still lives, none begins; 'possible': it may have
-- entered since, or there is no report.
case when o.token = any (w.handling) then case when w.handling_alone then 'alone' else 'reported' end
     when w.handling_alone and exists (
         select from objects as t where t.worker_id = w.id and t.state = 'leased' and t.token = any (w.handling)
     ) then 'no'
     else 'possible' end;

-- name: lock_expired
-- Lock leases whose deadline has passed, longest ago first. A row that is being settled is locked, and is skipped.
select o.id, o.pipeline_id, o.lane, o.attempts, o.faults, o.losses, o.returns, o.worker_id, o.given_up_by,
       o.rerun_requested, o.rerun_lane, o.event_etag, o.done_etag,
       o.event_size, extract(epoch from o.deadline - o.leased_at)::float8 as lasted_seconds,
       extract(epoch from o.leased_at - o.event_at)::float8 as asked_after_seconds,
       extract(epoch from o.leased_at - o.seen_at)::float8 as unseen_seconds,
       extract(epoch from yurt_now() - o.event_at)::float8 as event_age_seconds,
       {{in_handler}} as in_handler
from objects as o left join workers as w on w.id = o.worker_id
where o.state = 'leased' and o.deadline < (select yurt_now())
order by o.deadline
limit $1
for update of o skip locked;

-- name: lock_of_worker
-- Lock all leases of one worker.
select o.id, o.pipeline_id, o.lane, o.attempts, o.faults, o.losses, o.returns, o.worker_id, o.given_up_by,
       o.rerun_requested, o.rerun_lane, o.event_etag, o.done_etag,
       o.event_size, extract(epoch from o.deadline - o.leased_at)::float8 as lasted_seconds,
       extract(epoch from o.leased_at - o.event_at)::float8 as asked_after_seconds,
       extract(epoch from o.leased_at - o.seen_at)::float8 as unseen_seconds,
       extract(epoch from yurt_now() - o.event_at)::float8 as event_age_seconds,
       {{in_handler}} as in_handler
from objects as o left join workers as w on w.id = o.worker_id
where o.state = 'leased' and o.worker_id = $1
order by o.pipeline_id, o.key
for update of o;

-- name: settle
-- Write the next states of leased rows that this transaction has locked, log those that are settled, and increment
-- counters as "count" does: one round trip for all.
with settled as (
    update objects as o set
        state = s.state,
        lane = s.lane,
        due_at = moment.now + make_interval(secs => s.delay_seconds),
        attempts = least(s.attempts, 32000),
        faults = least(s.faults, 32000),
        losses = least(s.losses, 32000),
        returns = least(coalesce(s.returns, 0), 32000),
        given_up_by = s.given_up_by,
        rerun_requested = false, rerun_lane = null,
        worker_id = null, deadline = null,
        error = s.error,
        publish_started = o.publish_started and s.done_etag is null,
        seen_at = case when s.seen then greatest(o.seen_at, o.leased_at) else o.seen_at end,
        done_etag = case when s.forget then null else coalesce(s.done_etag, o.done_etag) end,
        done_modified = case when s.forget then null else coalesce(s.done_modified, o.done_modified) end,
        done_by = case when s.forget then null when s.done_etag is null then o.done_by else s.done_by end,
        done_verdict = case when s.forget then null when s.done_etag is null then o.done_verdict else s.done_verdict end,
        done_at = case when s.finished then moment.now else o.done_at end,
        published = case when s.forget then null else coalesce(s.published, o.published) end,
        -- A key that comes back after it was gone is a new object, without the versions of the old one. Events that
        -- came during the last check (restart) are about the new object, so what they brought is kept. A result that
        -- was believed is the newest version even with an older Last-Modified: a rename may keep an old one.
        event_etag = case when not s.forget or s.restart then o.event_etag end,
        newest_at = case
            when s.forget and not s.restart then null
            when s.state = 'done' and s.done_modified is not null then s.done_modified
            else greatest(o.newest_at, s.done_modified) end,
        scheme = case when s.forget and not s.restart then null else o.scheme end,
        ordinal = case when s.forget and not s.restart then null else o.ordinal end
    from json_to_recordset($6::json) as s (  -- one document is sooner written and read than thirteen arrays
             id bigint, state object_state, lane lane, delay_seconds float8, restart boolean, attempts int, faults int, losses int,
             returns int, given_up_by bigint, error jsonb, done_etag text, done_modified timestamptz, done_by bigint, done_verdict result_verdict, published jsonb, finished boolean, forget boolean,
             seen boolean, changed boolean
         ),
         (select yurt_now() as now offset 0) as moment
    where o.id = s.id
    returning o.id, o.pipeline_id, o.key, o.state, s.changed, s.done_etag is not null as has_result, o.done_etag, o.token,
              s.error, moment.now
), logged as (
    insert into settles (object_id, pipeline_id, key, state, changed, etag, token, reason, message, settled_at)
    -- A result that is to be looked at once more, or that a newer event follows, is a result.
    select id, pipeline_id, key, case when state = 'pending' then 'done' else state end, changed, done_etag, token,
           error ->> 'reason', error ->> 'message', now
    from settled where state in ('done', 'parked', 'gone') or has_result
), counted as (
    insert into tally as t (shard, pipeline_id, name, value)
    select $1::smallint, * from unnest($2::smallint[], $3::text[], $4::bigint[])
    on conflict (pipeline_id, name, shard) do update set value = t.value + excluded.value
)
select pg_notify('yurt_due', $5) where $5 <> '';

-- fragment: longest_lease
-- Longest life of a lease of object o.
make_interval(secs => $5::float8 + least(coalesce(o.event_size, 0), 10000000000000) / $6::float8);

-- name: extend
-- Move a live lease's deadline on, but not past $5 seconds from its beginning, and one more for each $6 bytes of the
-- object, up to 10 TB. Returns whether a newer event came, and the seconds until the deadline. No row: the lease is lost,
-- or has lasted that long.
update objects as o set
    deadline = least(moment.now + make_interval(secs => $4), o.leased_at + {{longest_lease}})
from (select yurt_now() as now offset 0) as moment
where o.id = $1 and o.state = 'leased' and o.token = $2 and o.worker_id is not distinct from $3
  and o.leased_at + {{longest_lease}} > moment.now
returning o.rerun_requested, extract(epoch from o.deadline - moment.now)::float8 as left_seconds;

-- name: lease
-- One live lease with the object's published outputs. No row: the lease is lost.
select o.id, o.pipeline_id, o.key, o.token, o.published, o.definition,
       extract(epoch from yurt_now() - o.leased_at)::float8 as held_seconds,
       extract(epoch from o.deadline - yurt_now())::float8 as left_seconds
from objects as o
where o.id = $1 and o.state = 'leased' and o.token = $2 and o.worker_id is not distinct from $3;

-- name: leased_definitions
-- The definitions that a worker's live leases were given, each once.
select distinct o.definition from objects as o
where o.state = 'leased' and o.worker_id = $1 and o.deadline > yurt_now() and o.definition is not null;

-- name: publishing
-- As "lease", for a lease that begins to publish: until a lease settles, the outputs may be a mixture of two results.
update objects as o set publish_started = true
where o.id = $1 and o.state = 'leased' and o.token = $2 and o.worker_id is not distinct from $3
returning o.id, o.pipeline_id, o.key, o.token, o.published, o.definition,
          extract(epoch from yurt_now() - o.leased_at)::float8 as held_seconds,
          extract(epoch from o.deadline - yurt_now())::float8 as left_seconds;

-- name: pipeline
-- The number of a pipeline on a bucket, assigned at first use.
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
-- Number of objects in each state now, by pipeline: for metrics and status. Scans an index or the table.
select p.name as pipeline, o.state::text, count(*) as objects, count(*) filter (where o.rerun_requested) as rerun_requested
from objects as o join pipelines as p on p.id = o.pipeline_id
group by 1, 2;

-- name: oldest
-- Seconds for which the longest waiting object of each pipeline has been due.
select p.name as pipeline, greatest(0, extract(epoch from yurt_now() - d.due_at))::float8 as seconds
from pipelines as p,
     lateral (
         select min(f.due_at) as due_at
         from unnest('{work,trial}'::lane[]) as l (lane),
              lateral (
                  select due_at from objects
                  where pipeline_id = p.id and lane = l.lane and state = 'pending' order by due_at limit 1
              ) as f
     ) as d
where d.due_at is not null;

-- name: parked
-- Parked objects of all pipelines, newest first.
select o.id, p.name as pipeline, p.bucket, o.key, o.attempts, o.error, o.due_at as parked_at
from objects as o join pipelines as p on p.id = o.pipeline_id
where o.state = 'parked'
order by o.due_at desc
limit $1;

-- name: demand
-- Demand of a pool: due objects, counted up to $2 for each pipeline, and leased ones: of each worker only as many as it
-- has slots, since a machine more could not get what this one hoards.
select
    (
        select coalesce(sum(least(l.leased, w.slots)), 0) from (
            select worker_id, count(*) as leased from objects
            where state = 'leased' and lane <> 'check' and pipeline_id = any ($1::smallint[]) and worker_id is not null
            group by 1
        ) as l join workers as w on w.id = l.worker_id
    )::bigint as leased,
    coalesce((
        select sum(due.objects)
        from unnest($1::smallint[]) as p (id),
             unnest('{work,trial}'::lane[]) as l (lane),
             lateral (
                 select count(*) as objects from (
                     select from objects
                     where pipeline_id = p.id and lane = l.lane and state = 'pending' and due_at <= (select yurt_now())
                     order by due_at limit $2  -- the index's order, so that finished rows are not read
                 ) as waiting
             ) as due
    ), 0)::bigint as pending;

-- name: intend
-- Write the intent to mint one machine, unless its pool is full. The caller holds the pool's advisory lock.
insert into workers (
    pool, provider, label, state, slots, once_hash, offer, machine, host, usd_per_hour, usd_once, reserve_seconds, cause
)
select $1, $2, $3, 'intended', $4, $5, $7, $8, $9, $10, $11, $12, $13
where (select count(*) from workers where pool = $1 and state <> 'gone') < $6
returning id;

-- name: wake
-- Wish for $2 machines of a pool for $3 seconds. Of two wishes for as many the one that ends later stays; a call soon
-- after another one writes nothing.
insert into wishes as w (pool, machines, until) values ($1, $2, yurt_now() + make_interval(secs => $3))
on conflict (pool, machines) do update set until = excluded.until where w.until < excluded.until - interval '1 second';

-- name: woken
-- The greatest wish for a pool that holds, for how long, and the pool's machines that are ready or will be.
select coalesce(w.machines, 0) as machines, coalesce(extract(epoch from w.until - n.now), 0)::float8 as seconds,
       m.ready, m.starting
from (select yurt_now() as now) as n
cross join (
    select count(*) filter (where state = 'ready') as ready,
           count(*) filter (where state in ('intended', 'booting')) as starting
    from workers where pool = $1 and state <> 'gone'
) as m
left join lateral (
    select machines, until from wishes where pool = $1 and until > n.now order by machines desc limit 1
) as w on true;

-- name: wished
-- How many machines of a pool are wished for now, and the time.
select coalesce((select max(machines) from wishes where pool = $1 and until > n.now), 0) as machines, n.now
from (select yurt_now() as now) as n;

-- name: forget_wishes
-- Forget wishes that have ended.
delete from wishes where until <= yurt_now();

-- name: lock_arrivals
-- Lock what was counted, so that two replicas do not count the same changes.
select from counted_arrivals order by pipeline_id for update;

-- name: count_arrivals
-- Add the changes that were accepted since the last time to the hour that it is now. The caller holds the lock.
with accepted as (
    select p.id as pipeline_id, n.now, coalesce(sum(t.value), 0)::bigint as changes
    from pipelines as p
    cross join (select yurt_now() as now) as n
    left join tally as t on t.pipeline_id = p.id and t.name = 'accepted'
    group by 1, 2
), counted as (
    insert into counted_arrivals as c (pipeline_id, changes, since)
    select pipeline_id, changes, now from accepted order by pipeline_id
    on conflict (pipeline_id) do update set changes = excluded.changes where c.changes <> excluded.changes
)
insert into arrivals as a (pipeline_id, hour, changes)
select pipeline_id, date_trunc('hour', n.now, 'UTC'), n.changes - c.changes
from accepted as n join counted_arrivals as c using (pipeline_id)  -- as they were before
where n.changes > c.changes order by 1
on conflict (pipeline_id, hour) do update set changes = a.changes + excluded.changes;

-- name: count_requests
-- Add requests that have come to services ($1, how many: $2) to the hour that it is now, and begin to count those of
-- services that are new.
with counted as (
    insert into counted_services (service, since) select service, yurt_now() from unnest($1::text[]) as s (service)
    order by 1 on conflict (service) do nothing
)
insert into service_arrivals as a (service, hour, requests)
select r.service, date_trunc('hour', yurt_now(), 'UTC'), r.requests
from unnest($1::text[], $2::bigint[]) as r (service, requests)
where r.requests > 0 order by 1  -- replicas that write at once lock the rows in one order
on conflict (service, hour) do update set requests = a.requests + excluded.requests;

-- name: prune_arrivals
-- Forget what arrived more than $1 weeks ago.
with requests as (
    delete from service_arrivals where hour < yurt_now() - make_interval(weeks => $1)
)
delete from arrivals where hour < yurt_now() - make_interval(weeks => $1);

-- name: arrival_history
-- Of the last whole weeks ($3 at most) since counting began for one of these pipelines ($1) or services ($2), in how many
-- did something arrive in each hour of the week (0: Monday from 0:00 to 1:00 UTC) in which anything did.
with moment as (
    select now, date_trunc('hour', now, 'UTC') as hour from (select yurt_now() as now offset 0) as read
), lasted as (
    -- "least" would pass over a null.
    select least($3::int, coalesce(floor(extract(epoch from max(m.now) - min(c.since)) / 604800), 0)::int) as weeks
    from moment as m left join (
        select since from counted_arrivals where pipeline_id = any ($1::smallint[])
        union all select since from counted_services where service = any ($2::text[])
    ) as c on true
), busy as (
    select hour from arrivals where pipeline_id = any ($1::smallint[]) and changes > 0
    union select hour from service_arrivals where service = any ($2::text[]) and requests > 0
)
select l.weeks, (extract(epoch from a.hour)::bigint / 3600 + 72) % 168 as hour_of_week,
       count(distinct a.hour) as busy_weeks
from lasted as l cross join moment as m
left join busy as a on a.hour >= m.hour - make_interval(weeks => l.weeks) and a.hour < m.hour
group by 1, 2;

-- name: usual_boot
-- How long the latest machines of a pool took from the intent until they called home, in the middle; null: there is none.
select percentile_cont(0.5) within group (order by extract(epoch from ready_at - created_at)::float8) as seconds
from (
    select created_at, ready_at from workers
    where pool = $1 and ref is not null and ready_at is not null order by id desc limit 20
) as latest;

-- name: ahead
-- Machines that were minted ahead of the work, by pool and why: those that are not gone, those ever minted, those of
-- them that got a lease, and what they cost until then. Those whose rows were pruned are included.
select pool, cause, sum(present)::bigint as present, sum(minted)::bigint as minted, sum(helped)::bigint as helped, sum(usd) as usd
from (
    select w.pool, w.cause, count(*) filter (where w.state <> 'gone') as present, count(*) as minted,
           count(w.usd_before_lease) as helped,
           sum(coalesce(w.usd_before_lease, w.usd_spent + case when w.state = 'gone' then 0
               else w.usd_per_hour * greatest(extract(epoch from n.now - w.costed_at), 0) / 3600 end)) as usd
    from workers as w cross join (select yurt_now() as now) as n
    where w.ref is not null and w.cause <> 'demand' group by 1, 2
    union all
    select pool, cause, 0, minted, helped, usd from pruned_ahead
) as ever
group by 1, 2 order by 1, 2;

-- name: installation
-- The id of this installation, which labels of its machines hold.
select id from installation;

-- name: note_strangers
-- Replace what is known of a provider's machines of other installations of the same name, by its list: labels and the
-- provider's names. Returns those that an operator wants slain.
with gone as (
    delete from strangers where provider = $1 and label <> all ($2::text[])
), noted as (
    insert into strangers as s (provider, label, ref) select $1, * from unnest($2::text[], $3::text[])
    on conflict (provider, label) do update set ref = excluded.ref where s.ref <> excluded.ref
)
select label from strangers where provider = $1 and slay and label = any ($2::text[]) order by label;

-- name: strangers
-- Machines of other installations of the same name at a provider (null: at any).
select provider, label, ref, slay as slaying from strangers where $1::text is null or provider = $1
order by provider, label limit $2;

-- name: strangers_standing
-- The number of such machines, and the label of one, by provider.
select provider, count(*) as machines, min(label) as label from strangers group by 1 order by 1;

-- name: slay_stranger
-- Note that an operator wants such a machine slain.
update strangers set slay = true where label = $1 returning provider, label, ref, slay as slaying;

-- name: lock_pool
-- Take the pool's advisory lock: replicas write its intents one at a time, so that the limit holds.
select pg_advisory_xact_lock(hashtextextended('yurt pool ' || $1, 0));

-- name: lock_budget
-- Take the advisory lock of all budgets: replicas decide one at a time about what may still be spent.
select pg_advisory_xact_lock(hashtextextended('yurt budget', 0));

-- name: accrue
-- Add to "spending" what machines have cost since they were last looked at, by the day on which it was spent. What the
-- provider has not taken the order for has cost nothing. Once a machine is ready, its slots that hold leases now count as
-- work of their pipelines, and the others as its service's, where one has it, or as idle. Of machines $1 (null: all), up to
-- now, or up to when one that is gone has ended: $2 seconds ago, when the provider's list first lacked it; if it had ended
-- itself before, $3 seconds after its last call, or where it never called $4 seconds after its intent.
with moment as (
    select now from (select yurt_now() as now offset 0) as read
), since as (
    select id, costed_at, until
    from workers, moment, lateral (
        select least(moment.now - make_interval(secs => $2), coalesce(
            seen_at + make_interval(secs => $3), created_at + make_interval(secs => $4), 'infinity')) as until
    ) as ended
    where state <> 'gone' and ref is not null and usd_per_hour > 0 and costed_at < until
      and ($1::bigint[] is null or id = any ($1))
    order by id for update of workers
), costed as (
    update workers as w set
        costed_at = since.until,
        usd_spent = w.usd_spent + w.usd_per_hour * extract(epoch from since.until - since.costed_at) / 3600
    from since where w.id = since.id
    returning w.id, w.pool, w.provider, w.slots, w.usd_per_hour as usd, since.costed_at at time zone 'utc' as begins,
              since.until at time zone 'utc' as ends, w.ready_at at time zone 'utc' as ready
), days as (
    select c.*, day, greatest(c.begins, day) as day_begins, least(c.ends, day + interval '1 day') as day_ends
    from costed as c, generate_series(date_trunc('day', c.begins), c.ends, interval '1 day') as day
), held as (
    select o.worker_id, p.name as pipeline, count(*)::numeric as leases, sum(count(*)) over (partition by o.worker_id) as of
    from objects as o join pipelines as p on p.id = o.pipeline_id
    where o.state = 'leased' and o.worker_id in (select id from costed) group by 1, 2
), shares as (
    select worker_id, 'work' as phase, pipeline, leases / greatest(of, slots) as share
    from held join costed on costed.id = held.worker_id
    union all
    select c.id, case when m.service is null then 'idle' else 'service' end, coalesce(m.service, ''),
           greatest(0, 1 - coalesce((select sum(leases) from held where worker_id = c.id), 0) / c.slots)
    from costed as c left join service_machines as m on m.worker_id = c.id and (
        m.used_at > (select now from moment) - make_interval(secs => m.idle_seconds)
        or ({{live_slots}}) > 0
    )
), phases as (
    select day, pool, provider, 'boot' as phase, '' as pipeline, usd, least(day_ends, coalesce(ready, day_ends)) - day_begins as lasted
    from days
    union all
    select day, pool, provider, s.phase, s.pipeline, usd * s.share, day_ends - greatest(day_begins, ready)
    from days join shares as s on s.worker_id = days.id where ready is not null
)
insert into spending as s (day, pool, provider, phase, pipeline, usd)
select day::date, pool, provider, phase, pipeline, sum(usd * extract(epoch from lasted)) / 3600
from phases where lasted > interval '0' and usd > 0 group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5
on conflict (day, pool, provider, phase, pipeline) do update set usd = s.usd + excluded.usd;

-- name: spend_once
-- Add what a machine costs once, when the provider has taken the order.
insert into spending as s (day, pool, provider, phase, pipeline, usd)
select (yurt_now() at time zone 'utc')::date, $1, $2, 'once', '', $3
on conflict (day, pool, provider, phase, pipeline) do update set usd = s.usd + excluded.usd;

-- name: spending_today
-- What was spent today (UTC), and the most that machines which are not gone can still cost once they have to go: of one
-- pool, and of all. One that is being slain costs for $2 seconds at least, however long that has taken.
with moment as (
    select now, date_trunc('day', now at time zone 'utc') as today from (select yurt_now() as now offset 0) as read
), machines as (
    select w.pool, case when w.ref is null then w.usd_once else 0 end + w.usd_per_hour * (
        greatest(extract(epoch from m.now - greatest(w.costed_at, m.today at time zone 'utc')), 0)
        + case w.state
            when 'slaying' then $2::int
            when 'draining' then greatest(w.reserve_seconds - extract(epoch from m.now - w.state_at), $2::int)
            else w.reserve_seconds end
    ) / 3600 as usd
    from workers as w, moment as m where w.state <> 'gone' and w.usd_per_hour + w.usd_once > 0
)
select coalesce((select sum(usd) from spending, moment where day = today::date and pool = $1), 0) as pool_spent,
       coalesce((select sum(usd) from spending, moment where day = today::date), 0) as all_spent,
       coalesce((select sum(usd) from machines where pool = $1), 0) as pool_bound,
       coalesce((select sum(usd) from machines), 0) as all_bound;

-- name: reprice
-- Note that a machine costs something else from now on. What it has cost so far was added to "spending" before.
update workers set usd_per_hour = $2 where id = $1 and state <> 'gone' and usd_per_hour <> $2 returning id;

-- name: avoid
-- Rent a machine no more for $5 seconds.
insert into avoided_machines (provider, machine, host, reason, until)
select $1, $2, $3, $4, yurt_now() + make_interval(secs => $5)
on conflict (provider, machine) do update set host = excluded.host, reason = excluded.reason, until = excluded.until;

-- name: avoided
-- Machines of a provider that are not to be rented now.
select machine from avoided_machines where provider = $1 and until > yurt_now() order by machine limit 1000;

-- name: forget_avoided
-- Forget machines that may be rented again.
delete from avoided_machines where until <= yurt_now();

-- name: spending
-- What was spent from one day to another, by day, pool, provider, phase and pipeline.
select day, pool, provider, phase, pipeline, usd from spending
where day between $1 and $2 order by day, pool, provider, phase, pipeline limit $3;

-- name: cost_days
-- From which day to which (UTC) costs are asked for; null: the thirty days up to today.
select coalesce($1::date, least($2::date, today) - 29) as since, coalesce($2::date, greatest($1::date, today)) as until
from (select (yurt_now() at time zone 'utc')::date as today) as moment;

-- name: spent_today
-- What was spent today (UTC), by pool, phase and pipeline.
select pool, phase, pipeline, sum(usd) as usd from spending
where day = (select (yurt_now() at time zone 'utc')::date) group by 1, 2, 3 order by 1, 2, 3;

-- name: begin_day
-- Note how many results each pipeline had when the day (UTC) began: the first time that it is asked for on that day.
insert into day_starts as d (pipeline_id, day, done)
select p.id, m.today,
       case when (p.created_at at time zone 'utc')::date = m.today then 0
            else coalesce((select sum(value) from tally where pipeline_id = p.id and name = 'done'), 0) end
from pipelines as p, (select (yurt_now() at time zone 'utc')::date as today offset 0) as m
where not exists (select from day_starts where pipeline_id = p.id and day >= m.today)
order by p.id
on conflict (pipeline_id) do update set day = excluded.day, done = excluded.done where d.day < excluded.day;

-- name: results_today
-- The number of results that pipelines have had since the day (UTC) began.
select p.name as pipeline, sum(coalesce(t.done, 0) - d.done)::bigint as results
from day_starts as d join pipelines as p on p.id = d.pipeline_id
left join (select pipeline_id, sum(value) as done from tally where name = 'done' group by 1) as t on t.pipeline_id = p.id
where d.day = (select (yurt_now() at time zone 'utc')::date)
group by 1 order by 1;

-- name: spent_ever
-- What was spent ever, by pool, provider and phase: for metrics.
select pool, provider, phase, sum(usd) as usd from spending group by 1, 2, 3 order by 1, 2, 3;

-- name: spending_by_pool
-- By pool, what was spent today (UTC), and the price of an hour of all its machines that are not gone.
select pool, coalesce(sum(spent), 0) as spent_today_usd, coalesce(sum(price), 0) as usd_per_hour
from (
    select pool, usd as spent, null::numeric as price from spending
    where day = (select (yurt_now() at time zone 'utc')::date)
    union all
    select pool, null, usd_per_hour from workers where state <> 'gone'
) as today
group by 1 order by 1;

-- fragment: cold_start
-- How long each step of the start of a machine w took; null: it is not over, not known, or not one of that machine. Its
-- process tells how long it had run when it called home, and can have run for no longer than since the order; and how long
-- it loaded models, which it does beside other steps.
extract(epoch from w.rented_at - w.created_at)::float8 as rented_seconds,
       case when w.rented_at <= w.ready_at then greatest(
           extract(epoch from w.ready_at - w.rented_at) - coalesce(w.process_seconds, 0), 0) end::float8 as booted_seconds,
       case when w.process_seconds is not null then least(
           w.process_seconds, case when w.rented_at is not null then extract(epoch from w.ready_at - w.created_at) end)
       end::float8 as process_seconds,
       extract(epoch from w.asked_at - w.ready_at)::float8 as weights_seconds,
       w.load_seconds::float8 as load_seconds,
       extract(epoch from w.result_at - w.leased_at)::float8 as first_result_seconds,
       case when w.service_weights_at > w.service_ordered_at
            then extract(epoch from w.service_weights_at - w.service_ordered_at) end::float8 as service_weights_seconds,
       extract(epoch from w.service_ready_at - coalesce(w.service_weights_at, w.service_ordered_at))::float8
           as service_ready_seconds;

-- name: cold_starts
-- Machines that had their first result, or a server that was ready, after $1 (seconds since 1970; null: the last one alone),
-- whichever came first, with the steps of their start.
select w.id, w.pool, extract(epoch from least(w.result_at, w.service_ready_at))::float8 as moment,
       {{cold_start}}
from workers as w
where least(w.result_at, w.service_ready_at) > case when $1::float8 is null
    then (select max(least(result_at, service_ready_at)) from workers) - interval '1 minute' else to_timestamp($1) end;

-- fragment: machine_details
-- Machines w with all that operators are shown of them.
select w.id, w.label, w.pool, w.provider, coalesce(w.ref, '') as ref, w.state, w.reason, w.suspicion, w.offer, w.machine,
       w.host, w.slots, w.cause, w.usd_per_hour, w.usd_once,
       w.usd_spent + case when w.state = 'gone' or w.ref is null then 0
           else w.usd_per_hour * greatest(extract(epoch from n.now - w.costed_at), 0) / 3600 end as usd_spent,
       extract(epoch from case w.state when 'gone' then w.state_at else n.now end - w.created_at)::float8 as age_seconds,
       extract(epoch from n.now - w.state_at)::float8 as state_seconds,
       coalesce(l.leases, 0) as leases,
       case when l.leases > 0 or w.ready_at is null or w.state in ('slaying', 'gone') then 0
            else extract(epoch from n.now - greatest(w.ready_at, w.active_at)) end::float8 as idle_seconds,
       extract(epoch from n.now - w.seen_at)::float8 as silent_seconds,
       case when w.state in ('ready', 'draining') and w.loading_at > n.now - interval '15 seconds'
            then w.loading end as loading,
       {{cold_start}}
from workers as w
cross join (select yurt_now() as now) as n
left join (
    select worker_id, count(*) as leases from objects where state = 'leased' and worker_id is not null group by 1
) as l on l.worker_id = w.id;

-- name: machine_page
-- Machines, the newest first: of a pool, a provider, a state (null: any; of states any but gone), before number $4.
{{machine_details}}
where ($1::text is null or w.pool = $1) and ($2::text is null or w.provider = $2)
  and ($3::text = w.state or ($3 is null and w.state <> 'gone')) and ($4::bigint is null or w.id < $4)
order by w.id desc limit $5;

-- name: machine
-- One machine.
{{machine_details}}
where w.id = $1;

-- name: machines
-- Every machine that is not gone, with the leases it holds. The columns are the fields of Machine, in their order.
select w.id, w.label, w.pool, w.provider, w.ref, w.state,
       extract(epoch from n.now - w.created_at)::float8 as age_seconds,
       extract(epoch from n.now - w.state_at)::float8 as state_seconds,
       coalesce(l.leased, 0) as leased,
       case when l.leased > 0 or m.serving > 0 or w.ready_at is null then 0
            else extract(epoch from n.now - greatest(w.ready_at, w.active_at, m.used_at)) end::float8 as idle_seconds,
       extract(epoch from n.now - coalesce(w.seen_at, w.created_at))::float8 as silent_seconds,
       nullif(w.reason, '') as reason, w.machine, w.host, w.usd_per_hour, coalesce(m.serving, 0) as serving,
       m.idle_seconds as keep_seconds
from workers as w
cross join (select yurt_now() as now) as n
left join (
    select worker_id, count(*) as leased from objects where state = 'leased' and worker_id is not null group by 1
) as l on l.worker_id = w.id
left join (
    select m.worker_id, m.idle_seconds, m.used_at, ({{live_slots}}) as serving from service_machines as m
) as m on m.worker_id = w.id
where w.state <> 'gone'
order by w.id;

-- name: minted
-- The provider took the order and named the machine. "first": it had not been noted before.
with old as (select id, ref from workers where id = $1 and state <> 'gone' for update)
update workers as w set
    ref = $2,
    rented_at = coalesce(w.rented_at, yurt_now()),
    usd_spent = w.usd_spent + case when old.ref is null then w.usd_once else 0 end,
    state = case w.state when 'intended' then 'booting' else w.state end,
    state_at = case w.state when 'intended' then yurt_now() else w.state_at end
from old where w.id = old.id
returning old.ref is null as first, w.pool, w.provider, w.usd_once;

-- name: drain
-- Drain a machine: from this commit on it gets no more leases.
update workers set state = 'draining', reason = $2, suspicion = $3, state_at = yurt_now()
where id = $1 and state = 'ready' returning id;

-- name: slaying
-- Revoke a machine's token, before its provider is asked to destroy it.
update workers set state = 'slaying', reason = $2, state_at = yurt_now(), token_hash = null
where id = $1 and state = $3 and state not in ('slaying', 'gone') returning id;

-- name: gone
-- The provider's own list no longer shows the machine.
update workers set state = 'gone', state_at = yurt_now() where id = $1 and state = 'slaying' returning id, reason;

-- name: distrust
-- Revoke a worker that is not to be trusted, whatever it is doing, and say why ($2).
update workers set
    state = 'slaying', reason = 'distrusted', suspicion = $2, token_hash = null,
    state_at = case when state = 'slaying' then state_at else yurt_now() end
where id = $1 and state <> 'gone' returning id;

-- name: distrust_gone
-- Note why a worker that is gone was not to be trusted.
update workers set reason = 'distrusted', suspicion = $2 where id = $1 and state = 'gone' returning id;

-- name: by_worker
-- Objects after number $2 whose last result worker $1 reported, or that are parked on its word, by their numbers.
select id from objects as o where {{of_worker}} and o.id > $2 order by o.id limit $3;

-- fragment: of_worker
-- Whether the last result of object o is of worker $1, or it is parked on that worker's word.
(o.done_by = $1 or (o.state = 'parked' and (o.error ->> 'worker')::bigint = $1));

-- name: lock_by_worker
-- Lock those of the rows ($2) that are still of a worker. "begins": what becomes of it is a change of its own.
select o.id, o.pipeline_id, o.state in ('done', 'leased') and not o.rerun_requested as begins
from objects as o
where {{of_worker}} and o.id = any ($2::bigint[])
order by o.pipeline_id, o.key
for update of o;

-- name: rework
-- Have rows that this transaction has locked processed anew: all outputs are made again ("publish_started"), also of
-- equal content. A leased one is processed once more after its lease. A Last-Modified far ahead, which would make all later
-- content look old, is not believed.
update objects as o set
    state = case when o.state in ('done', 'parked') then 'pending' else o.state end,
    lane = case when o.state = 'done' then 'work' else o.lane end,
    due_at = case when o.state in ('done', 'parked') then (select yurt_now()) else o.due_at end,
    attempts = case when o.state in ('done', 'parked') then 0 else o.attempts end,
    faults = case when o.state in ('done', 'parked') then 0 else o.faults end,
    losses = case when o.state in ('done', 'parked') then 0 else o.losses end,
    returns = case when o.state in ('done', 'parked') then 0 else o.returns end,
    given_up_by = case when o.state not in ('done', 'parked') then o.given_up_by end,
    rerun_requested = o.rerun_requested or o.state = 'leased',
    rerun_lane = case when o.state = 'leased' then 'work' else o.rerun_lane end,
    publish_started = true,
    newest_at = case when o.newest_at > moment.ahead then moment.now else o.newest_at end,
    done_modified = case when o.done_modified > moment.ahead then moment.now else o.done_modified end
from (select now, now + interval '10 minutes' as ahead from (select yurt_now() as now offset 0) as read) as moment
where o.id = any ($1::bigint[]);

-- name: may_call_home
-- Whether a token is known as one with which a worker may call home. Each part reads one index.
select exists (select from workers where once_hash = $1 and state in ('intended', 'booting', 'ready', 'draining'))
    or exists (select from workers where return_hash = $1 and state in ('ready', 'draining'))
    or exists (select from invitations where once_hash = $1) as known;

-- name: hello
-- A machine calls home with its one-time token. The same instance may again, when the answer was lost; another may not.
update workers set
    state = case when state in ('intended', 'booting') then 'ready' else state end,
    state_at = case when state in ('intended', 'booting') then yurt_now() else state_at end,
    ready_at = coalesce(ready_at, yurt_now()), seen_at = yurt_now(), instance = $2, token_hash = $3,
    return_hash = coalesce($4, return_hash)
where once_hash = $1 and state in ('intended', 'booting', 'ready', 'draining') and (instance is null or instance = $2)
returning id, pool, provider, slots, label;

-- name: come_back
-- A worker comes back in a new process, with its credential: from now on only that process is the worker. "restarted":
-- the same process has not called before, so what the worker had leased is lost.
update workers as w set instance = $2, token_hash = $3, seen_at = yurt_now(), unavailable = '{}'
from (
    select id, instance is distinct from $2 as restarted from workers
    where return_hash = $1 and state in ('ready', 'draining') for update
) as before
where w.id = before.id
returning w.id, w.pool, w.provider, w.slots, w.label, before.restarted;

-- name: report_process
-- What a worker's process says of itself as it calls home: why its machine cannot jail handlers ($2; empty: it can),
-- whether it can run servers of services ($3), and for how long it has run ($4; null: it does not say), of which the first
-- word counts.
update workers set unjailed = $2, serves = $3, process_seconds = coalesce(process_seconds, $4)
where id = $1 and ((unjailed, serves) <> ($2, $3) or process_seconds is null);

-- name: asked
-- Note that a worker asks for work for the first time.
update workers set asked_at = yurt_now() where id = $1 and asked_at is null;

-- name: new_life
-- A worker's new process has nothing in its handler, and counts its reports of that from the beginning.
update workers set handling = default, handling_alone = default, handling_number = default where id = $1;

-- name: invite
-- Write an invitation for $4 workers (null: without end) within $5 seconds (null: for ever).
insert into invitations (pool, provider, once_hash, uses, expires_at)
values ($1, $2, $3, $4, yurt_now() + make_interval(secs => $5));

-- name: invitation
-- An invitation that can still be used. Locked: two workers that come at once take two uses.
select id, pool, provider from invitations
where once_hash = $1 and (uses is null or uses > 0) and (expires_at is null or expires_at > yurt_now())
for update;

-- name: join
-- A worker joins by an invitation ($6), unless its pool is full. The caller holds the pool's advisory lock.
with joined as (
    insert into workers (
        pool, provider, label, state, slots, once_hash, instance, token_hash, return_hash, ready_at, seen_at
    )
    select $1, $2, $3, 'ready', $4, $5, $7, $8, $9, yurt_now(), yurt_now()
    where (select count(*) from workers where pool = $1 and state <> 'gone') < $10
    returning id, pool, provider, slots, label
), used as (
    update invitations set uses = uses - 1, used_at = yurt_now() where id = $6 and exists (select from joined)
)
select * from joined;

-- name: prune_invitations
-- Delete invitations that cannot be used any more. Not those that were used just now: a worker whose answer was lost
-- calls again.
delete from invitations
where (uses <= 0 or expires_at <= yurt_now()) and (used_at is null or used_at < yurt_now() - interval '1 hour');

-- name: authenticate
-- Find the worker that a token belongs to and whether it drains, and note the time of its call.
update workers as w set seen_at = yurt_now() where w.token_hash = $1 and w.state in ('ready', 'draining')
returning w.id, w.pool, w.state, w.label, w.unavailable::text, w.usd_per_hour, w.asked_at is not null as asked,
          extract(epoch from yurt_now())::float8 as moment,
          (select m.service from service_machines as m where m.worker_id = w.id) as service,
          coalesce((
              select ({{live_slots}}) > 0 or m.used_at > yurt_now() - make_interval(secs => m.idle_seconds)
              from service_machines as m where m.worker_id = w.id
          ), false) as kept;

-- name: handler_unavailable
-- Note that a pipeline's handler cannot run on a worker, and when it is tried there again: after $4 seconds, doubled
-- with each further failure up to $5. What was leased together with the first failure fails with it, and is not counted.
update workers as w set unavailable = w.unavailable || jsonb_build_object($2::text, jsonb_build_object(
    'message', $3::text,
    'failures', f.failures + 1,
    'retry_at', f.now + least($5::float8, $4::float8 * 2 ^ least(f.failures, 20))
))
from (
    select id, extract(epoch from yurt_now())::float8 as now,
           coalesce((unavailable -> $2::text ->> 'failures')::int, 0) as failures,
           coalesce((unavailable -> $2::text ->> 'retry_at')::float8, 0) as retry_at
    from workers where id = $1
) as f
where w.id = f.id and f.retry_at <= f.now;

-- name: handler_available
-- Note that a pipeline's handler has run on a worker.
update workers set unavailable = unavailable - $2::text where id = $1;

-- name: handlers_changed
-- Note that a worker's handlers have changed: all of them are tried again at once.
update workers set unavailable = '{}' where id = $1;

-- name: unavailable_everywhere
-- Pipelines whose handlers can run on none of a pool's ready machines.
select k.pipeline_id::int as pipeline_id
from workers as w cross join lateral jsonb_object_keys(w.unavailable) as k (pipeline_id)
where w.pool = $1 and w.state = 'ready'
group by 1
having count(*) = (select count(*) from workers where pool = $1 and state = 'ready');

-- name: unavailable_handlers
-- By pipeline, on how many of its pool's ready machines the handler cannot run, why, and when one tries again.
select p.name as pipeline, count(*) as workers, bool_and(w.pool_workers = u.pool_unavailable) as everywhere,
       max(w.pool_workers) as pool_workers, max(u.message) as message,
       greatest(0, min(u.retry_at) - extract(epoch from yurt_now()))::float8 as retry_seconds
from (
    select pool, count(*) as pool_workers from workers where state = 'ready' group by 1
) as w
join (
    select w.pool, k.key::int as pipeline_id, k.value ->> 'message' as message,
           (k.value ->> 'retry_at')::float8 as retry_at,
           count(*) over (partition by w.pool, k.key) as pool_unavailable
    from workers as w cross join lateral jsonb_each(w.unavailable) as k
    where w.state = 'ready'
) as u using (pool)
join pipelines as p on p.id = u.pipeline_id
group by 1;

-- name: active
-- Note that the worker got or settled a lease just now, and which leases are in its handler: tokens, whether nothing else
-- may enter it, the report's number (null: it reports nothing). $5: with a result. The first time, what it has cost up to
-- now is kept.
update workers set
    active_at = yurt_now(),
    leased_at = coalesce(leased_at, yurt_now()),
    result_at = case when $5 then coalesce(result_at, yurt_now()) else result_at end,
    usd_before_lease = coalesce(usd_before_lease, usd_spent + case when ref is null then usd_once else 0 end
        + usd_per_hour * greatest(extract(epoch from yurt_now() - costed_at), 0) / 3600),
    handling = case when $4 > handling_number then $2 else handling end,
    handling_alone = case when $4 > handling_number then $3 else handling_alone end,
    handling_number = greatest(handling_number, $4)
where id = $1;

-- name: loaded
-- Note for how long a worker has loaded models into memory: up to its first result.
update workers set load_seconds = $2 where id = $1 and result_at is null;

-- name: progress
-- Note what a worker fetches or loads before it can take work: it is not idle meanwhile, for $3 seconds after it was
-- ready at most, since only its own word tells.
update workers set
    loading = $2,
    loading_at = yurt_now(),
    active_at = case when yurt_now() < ready_at + make_interval(secs => $3) then yurt_now() else active_at end
where id = $1;

-- name: report_handling
-- Note which leases are in the worker's handler.
update workers set handling = $2, handling_alone = $3, handling_number = $4 where id = $1 and $4 > handling_number;

-- name: report_track_records
-- Add to how workers' leases ended: workers, pipelines, leases with a result and without. Where there are more than $5,
-- earlier ones fade. None of a worker that is gone is kept.
with forgotten as (
    delete from track_records as t where not exists (
        select from workers where id = t.worker_id and state in ('ready', 'draining')
    ) and t.worker_id <> all ($1)
)
insert into track_records as t (worker_id, pipeline_id, good, bad)
select * from unnest($1::bigint[], $2::smallint[], $3::real[], $4::real[])
on conflict (worker_id, pipeline_id) do update set
    good = (t.good + excluded.good) * case when t.good + t.bad > $5::real then 0.5 else 1 end,
    bad = (t.bad + excluded.bad) * case when t.good + t.bad > $5::real then 0.5 else 1 end;

-- name: track_records
-- How the latest leases of ready workers ended, by pipeline.
select t.worker_id, p.name as pipeline, t.good, t.bad
from track_records as t join workers as w on w.id = t.worker_id join pipelines as p on p.id = t.pipeline_id
where w.state = 'ready'
order by t.worker_id, p.name;

-- name: suspects
-- Workers that were drained or revoked because they are not to be trusted, the latest first.
select id as worker, pool, label, state::text, reason, suspicion as why from workers where suspicion <> '' order by state_at desc, id limit $1;

-- name: workers_standing
-- Machines that are not gone, by pool and state.
select pool, state, count(*) as machines from workers where state <> 'gone' group by 1, 2;

-- name: unjailed_workers
-- Working machines that cannot jail handlers, by pool, and why one of them cannot.
select pool, count(*) as workers, min(unjailed) as why from workers
where unjailed <> '' and state in ('ready', 'draining') group by 1;

-- name: report_pools
-- How minting goes, of all pools that are minted for: states as they are, failed starts on top of the earlier ones.
with others as (
    update pool_reports set breaker = 'closed', frozen = false, not_minted = '' where pool <> all ($1)
)
insert into pool_reports as p (pool, breaker, frozen, failed_starts, last_failure, last_boot_log, not_minted)
select * from unnest($1::text[], $2::text[], $3::boolean[], $4::bigint[], $5::text[], $6::text[], $7::text[])
on conflict (pool) do update set
    not_minted = excluded.not_minted,
    breaker = excluded.breaker,
    frozen = excluded.frozen,
    failed_starts = p.failed_starts + excluded.failed_starts,
    last_failure = case when excluded.last_failure = '' then p.last_failure else excluded.last_failure end,
    last_boot_log = case when excluded.last_boot_log = '' then p.last_boot_log else excluded.last_boot_log end;

-- name: report_providers
-- How providers answer: counts on top of the earlier ones. What others no longer list is not known to be there.
with others as (
    delete from strangers where provider <> all ($1)
)
insert into provider_reports as p (provider, list_failures, unknown_slain, last_error)
select * from unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[])
on conflict (provider) do update set
    list_failures = p.list_failures + excluded.list_failures,
    unknown_slain = p.unknown_slain + excluded.unknown_slain,
    last_error = case when excluded.last_error = '' then p.last_error else excluded.last_error end;

-- name: pool_reports
-- How minting goes, by pool.
select pool, breaker, frozen, failed_starts, last_failure, last_boot_log, not_minted from pool_reports order by pool;

-- name: provider_reports
-- How providers answer.
select provider, list_failures, unknown_slain, last_error from provider_reports order by provider;

-- name: report_senders
-- Add to what is known of the senders of notifications: by source, the age in seconds of the last one taken (null:
-- none since), the number refused, the age of the last one refused, its code and message.
insert into senders as s (source, taken_at, refused, refused_at, error, message)
select source, yurt_now() - make_interval(secs => taken), refused, yurt_now() - make_interval(secs => last), error,
    message
from unnest($1::text[], $2::float8[], $3::bigint[], $4::float8[], $5::text[], $6::text[])
    as r (source, taken, refused, last, error, message)
on conflict (source) do update set
    taken_at = greatest(s.taken_at, excluded.taken_at),
    refused = s.refused + excluded.refused,
    refused_at = greatest(s.refused_at, excluded.refused_at),
    error = case when excluded.refused_at is null then s.error else excluded.error end,
    message = case when excluded.refused_at is null then s.message else excluded.message end;

-- name: senders
-- How the senders of notifications fare, by source: seconds since the last one taken and the last one refused.
select source, refused, error, message,
    extract(epoch from yurt_now() - taken_at)::float8 as taken_seconds,
    extract(epoch from yurt_now() - refused_at)::float8 as refused_seconds
from senders order by source;

-- name: due
-- Which of these pipelines have something due in a lane.
select p.id
from unnest($1::smallint[]) as p (id)
where (select yurt_now()) >= (
    select due_at from objects
    where pipeline_id = p.id and lane = $2 and state = 'pending' order by due_at limit 1
);

-- name: balance
-- The conservation law, in one snapshot: events and changes counted as received less those counted as ended and those
-- in the rows. Both must be 0.
with counted as (
    select pipeline_id, name, sum(value) as value from tally group by 1, 2
), stood as (
    select pipeline_id,
           count(*) filter (where state in ('pending', 'leased', 'parked')) + count(*) filter (where rerun_requested) as units
    from objects group by 1
)
select
    coalesce(sum(value) filter (where name = 'received'), 0)::bigint
        - coalesce(sum(value) filter (where name in
            ('accepted', 'coalesced', 'duplicate', 'stale', 'ignored', 'quarantined')), 0)::bigint as events,
    coalesce(sum(value) filter (where name in ('accepted', 'recheck')), 0)::bigint
        - coalesce(sum(value) filter (
            where name in ('done', 'unchanged', 'superseded', 'gone', 'forgotten')), 0)::bigint
        - (select coalesce(sum(units), 0) from stood)::bigint as changes
from counted;

-- name: minted_ever
-- Number of machines that were ever minted and slain, by pool, those included whose rows were pruned.
select pool, sum(minted)::bigint as minted, sum(slain)::bigint as slain
from (
    select pool, count(*) as minted, count(*) filter (where state = 'gone') as slain
    from workers where ref is not null group by 1
    union all
    select pool, minted, slain from pruned_workers
) as ever
group by 1;

-- name: ready
-- Whether the ledger answers, has its schema, and takes no writes.
select current_setting('transaction_read_only') = 'on' or pg_is_in_recovery() as read_only from schema_version limit 1;

-- fragment: parked_filter
-- The parked objects o, of pipelines p, that an administrator's filter matches: pipeline, reason, prefix, key, seconds
-- parked for at least and at most, numbers. A filter that is null matches all.
o.state = 'parked'
  and ($1::text is null or p.name = $1)
  and ($2::text is null or coalesce(o.error ->> 'reason', '') = $2)
  and ($3::text is null or starts_with(o.key, $3))
  and ($4::text is null or o.key = $4)
  and ($5::float8 is null or o.due_at <= (select yurt_now()) - make_interval(secs => $5))
  and ($6::float8 is null or o.due_at >= (select yurt_now()) - make_interval(secs => $6))
  and ($7::bigint[] is null or o.id = any ($7));

-- fragment: object_found
-- What a search shows of an object.
key, state::text, attempts, event_at, event_size, done_at, done_verdict::text as verdict, error ->> 'reason' as reason;

-- fragment: object_after
-- Objects of a pipeline after $2, of those that begin with $3: $4 is behind the last of them.
pipeline_id = $1 and key > $2 and key >= $3 and ($4::text is null or key < $4);

-- fragment: object_filter
-- Of the objects that were looked at, those in state $5 and with $6 in their keys, where these are not null, and with
-- verdict $9; at most $8, in the order of their keys. "last" of "looked" is where the next search begins.
select s.looked, s.last, o.*
from (select count(*) as looked, max(key) as last from looked) as s
left join lateral (
    select * from looked as l
    where ($5::text is null or l.state = $5) and ($6::text is null or position($6 in l.key) > 0)
      and ($9::text is null or l.verdict = $9)
    order by l.key limit $8
) as o on true
order by o.key;

-- name: object_page
-- Search a pipeline's objects. Only the next $7 are looked at, so that a search for what is rare ends in time.
with looked as (
    select {{object_found}} from objects where {{object_after}} order by key limit $7
)
{{object_filter}};

-- name: object_page_unwanted
-- The same among those that are to be reviewed or refused ($9), which an index knows: only the next $7 of them.
with looked as (
    select {{object_found}} from objects
    where {{object_after}} and done_verdict = $9::text::result_verdict and done_verdict <> 'ok'
    order by key limit $7
)
{{object_filter}};

-- name: object_story
-- All that is known of one object, with the worker that holds it.
select o.id, o.pipeline_id, o.key, o.state::text, o.lane::text, o.due_at, o.attempts, o.faults, o.event_at, o.verdict,
       o.event_etag, o.event_size, o.newest_at, o.token, o.deadline, o.rerun_requested, o.done_etag, o.done_modified,
       o.done_at, o.done_verdict::text, o.published::text, coalesce(o.error ->> 'reason', '') as reason,
       coalesce(o.error ->> 'message', '') as message, coalesce(o.error ->> 'log', '') as log,
       case when o.state = 'leased' then o.worker_id end as worker_id, w.label as worker, (select yurt_now()) as moment
from objects as o left join workers as w on w.id = o.worker_id and o.state = 'leased'
where o.pipeline_id = $1 and o.key = $2;

-- name: objects_at
-- What has become of some objects, by position.
select p.position::int, o.id, o.state::text, o.event_at, o.done_at, o.published::text, o.attempts,
       coalesce(o.error ->> 'reason', '') as reason, coalesce(o.error ->> 'message', '') as message
from unnest($1::smallint[], $2::text[]) with ordinality as p (pipeline_id, key, position)
join objects as o on o.pipeline_id = p.pipeline_id and o.key = p.key;

-- name: make_sign_in_link
-- Keep the hash of a sign-in link's code for $2 seconds, and forget those that have expired.
with expired as (
    delete from sign_in_links where expires_at <= (select yurt_now())
)
insert into sign_in_links (code_hash, expires_at)
values ($1, yurt_now() + make_interval(secs => $2::float8)) returning expires_at;

-- name: use_sign_in_link
-- Use a sign-in link up. No row: it is unknown, has expired or was used.
delete from sign_in_links where code_hash = $1 and expires_at > (select yurt_now()) returning 1 as used;

-- name: parked_page
-- Parked objects that a filter matches, newest first, after the last one of the page before.
select o.id, p.name as pipeline, p.bucket, o.key, o.attempts, o.due_at as parked_at,
       coalesce(o.error ->> 'reason', '') as reason, coalesce(o.error ->> 'message', '') as message
from objects as o join pipelines as p on p.id = o.pipeline_id
where {{parked_filter}}
  and (o.due_at, o.id) < (coalesce($8::timestamptz, 'infinity'), coalesce($9::bigint, 9223372036854775807))
order by o.due_at desc, o.id desc
limit $10;

-- name: parked_counts
-- Number of parked objects that match the same filter, by pipeline and reason, most first.
select p.name as pipeline, coalesce(o.error ->> 'reason', '') as reason, count(*) as objects
from objects as o join pipelines as p on p.id = o.pipeline_id
where {{parked_filter}}
group by 1, 2
order by 3 desc, 1, 2;

-- name: parked_object
-- One parked object with all its fields.
select o.id, p.name as pipeline, p.bucket, o.key, o.lane::text, o.attempts, o.faults, o.due_at as parked_at,
       coalesce(o.error ->> 'reason', '') as reason, coalesce(o.error ->> 'message', '') as message,
       coalesce(o.error ->> 'log', '') as log,
       o.event_at, o.event_etag, o.event_size, o.newest_at, o.done_etag, o.done_modified, o.done_at
from objects as o join pipelines as p on p.id = o.pipeline_id
where o.id = $1 and o.state = 'parked';

-- name: calls
-- The state of calls: objects of one pipeline, by their keys.
select o.id, o.key, o.state::text,
       coalesce(o.error ->> 'reason', '') as reason, coalesce(o.error ->> 'message', '') as message,
       coalesce(o.error ->> 'log', '') as log
from objects as o
where o.pipeline_id = $1 and o.key = any ($2::text[]);

-- name: add_run_log
-- Keep what a run printed, and drop the oldest of its pipeline beyond $8.
with added as (
    insert into run_logs (pipeline_id, key, worker_id, log, reason, message, retry, outcome)
    values ($1, $2, $3, $4, $5, $6, $7, case when $5 = '' then 'done' else 'failed' end)
)
delete from run_logs
where pipeline_id = $1
  and id <= (select id from run_logs where pipeline_id = $1 order by id desc offset $8 - 1 limit 1);

-- name: run_logs
-- Runs of pipelines with these names ($2: only those that failed), in the order of their ids: the $4 newest ones, or with
-- an id $3 the first $4 after it.
select id, pipeline, key, worker_id, outcome, reason, message, retry, log, ended_at from (
    select r.*, p.name as pipeline from run_logs as r join pipelines as p on p.id = r.pipeline_id
    where p.name = any ($1::text[]) and (not $2::boolean or r.outcome = 'failed') and ($3::bigint is null or r.id > $3)
    order by case when $3::bigint is null then -r.id else r.id end limit $4
) as chosen
order by id;

-- name: prune_run_logs
-- Delete a batch of logs of runs that ended more than $2 days ago.
with pruned as (
    delete from run_logs where id in (
        select id from run_logs where ended_at < (select yurt_now()) - make_interval(days => $2)
        order by ended_at limit $1
    ) returning 1
)
select count(*) as pruned from pruned;

-- name: lock_parked
-- Lock those of the rows that are still parked.
select o.id, o.pipeline_id
from objects as o
where o.id = any ($1::bigint[]) and o.state = 'parked'
order by o.pipeline_id, o.key
for update of o;

-- name: redrive
-- Make parked rows that this transaction has locked due now, in the lane in which they were parked, with all attempts.
update objects as o set state = 'pending', due_at = (select yurt_now()), attempts = 0, faults = 0, returns = 0, given_up_by = null
where o.id = any ($1::bigint[]);

-- name: forget
-- End the changes of parked rows that this transaction has locked without processing them.
update objects as o set state = 'forgotten', due_at = (select yurt_now())
where o.id = any ($1::bigint[]);

-- name: quarantine_page
-- A page of quarantined texts that match the filter, newest first, after the last row of the page before. The digest is
-- of the whole text, so a digest of the kept bytes that differs proves that the text was truncated.
select q.id, q.source, q.reason, q.received_at, q.times, octet_length(q.raw) as size_bytes,
       sha256(q.raw) <> q.digest as truncated
from quarantine as q
where ($1::text is null or q.source = $1)
  and ($2::text is null or position($2 in q.reason) > 0)
  and ($3::float8 is null or q.received_at <= (select yurt_now()) - make_interval(secs => $3))
  and ($4::float8 is null or q.received_at >= (select yurt_now()) - make_interval(secs => $4))
  and ($5::bigint[] is null or q.id = any ($5))
  and (q.received_at, q.id) < (coalesce($6::timestamptz, 'infinity'), coalesce($7::bigint, 9223372036854775807))
order by q.received_at desc, q.id desc
limit $8;

-- name: quarantined_text
-- One quarantined event with its text.
select q.id, q.source, q.reason, q.received_at, q.times, octet_length(q.raw) as size_bytes,
       sha256(q.raw) <> q.digest as truncated, q.raw
from quarantine as q
where q.id = $1;

-- name: lock_quarantined
-- Lock texts that are to be parsed again.
select q.id, q.source, q.reason, q.raw, sha256(q.raw) <> q.digest as truncated
from quarantine as q
where q.id = any ($1::bigint[])
order by q.source, q.digest
for update of q;

-- name: release
-- Delete texts that this transaction has locked and parsed.
delete from quarantine where id = any ($1::bigint[]);

-- name: refuse
-- Write the present reason for texts that this transaction has locked and that still cannot be parsed.
update quarantine as q set reason = r.reason
from unnest($1::bigint[], $2::text[]) as r (id, reason)
where q.id = r.id;

-- name: quarantined
-- Number of quarantined texts.
select count(*) as texts from quarantine;

-- name: sweep_order
-- Order a sweep.
insert into sweeps (pipeline_id, kind, scheduled, prefix, since, dry_run, pages_per_second, new_since)
values ($1, $2, $3, $4, $5, $6, $7, $8)
returning *, yurt_now() as moment;

-- name: sweep
-- One sweep, and the ledger's time.
select *, yurt_now() as moment from sweeps where id = $1;

-- name: sweeps
-- The newest sweeps before $1.
select *, yurt_now() as moment from sweeps where id < $1 order by id desc limit $2;

-- name: sweeps_due
-- Sweeps that are due, except those that this replica runs already ($2).
select *, yurt_now() as moment from sweeps
where state in ('wanted', 'running') and due_at <= (select yurt_now()) and pipeline_id = any ($1::smallint[])
  and id <> all ($2::bigint[])
order by due_at, id
limit $3;

-- name: sweep_begin
-- Mark a sweep as running. No row: it has ended.
update sweeps set state = 'running', started_at = coalesce(started_at, yurt_now())
where id = $1 and state in ('wanted', 'running')
returning *, yurt_now() as moment;

-- name: sweep_advance
-- Move a sweep's cursor past one page. Only from the place where the page began: no row means that another replica has
-- done this page, or that the sweep has ended.
update sweeps set
    stage = $4, cursor = $5, adopts = coalesce($6, adopts),
    state = case when $7 then 'done' else state end,
    finished_at = case when $7 then yurt_now() end,
    pages = pages + 1, listed = listed + $8, known = known + $9, found = found + $10, adopted = adopted + $11,
    missing = missing + $12, orphaned = orphaned + $13, removed = removed + $14,
    failures = 0, error = null
where id = $1 and state = 'running' and stage = $2 and cursor = $3
returning *, yurt_now() as moment;

-- name: sweep_failed
-- Count a page that failed. After $4 in a row the sweep has failed; before that it resumes later from the same place.
update sweeps set
    failures = failures + 1,
    error = $2,
    due_at = yurt_now() + make_interval(secs => $3),
    state = case when failures + 1 >= $4 then 'failed' else state end,
    finished_at = case when failures + 1 >= $4 then yurt_now() end
where id = $1 and state = 'running'
returning *, yurt_now() as moment;

-- name: sweep_cancel
-- Cancel a sweep. What it has recorded stays.
update sweeps set state = 'cancelled', finished_at = yurt_now(), error = coalesce($2, error)
where id = $1 and state in ('wanted', 'running')
returning *, yurt_now() as moment;

-- name: sweeps_last
-- The schedule's facts for each pipeline and kind of sweep: whether one is active, when the last one was ordered, and
-- from which time on a finished sweep has seen everything.
select p.id as pipeline_id, k.kind,
       active.id is not null as active,
       extract(epoch from n.now - last.created_at)::float8 as ordered_seconds,
       coalesce(last.error, '') as error,
       extract(epoch from n.now - coalesce(good.started_at, made.at))::float8 as good_seconds,
       greatest(good.started_at, wide.started_at, made.at) as seen_until,
       -- Rows of finished objects are pruned after $2 days (0: never): an older object without a row is no lost event.
       greatest(own.created_at, n.now - make_interval(days => nullif($2::int, 0))) - interval '1 hour' as new_since
from unnest($1::smallint[]) as p (id)
join pipelines as own on own.id = p.id
cross join (values ('recent'), ('full')) as k (kind)
cross join (select yurt_now() as now) as n
cross join (select min(applied_at) as at from schema_version) as made
left join lateral (
    select id from sweeps where pipeline_id = p.id and kind = k.kind and scheduled and state in ('wanted', 'running')
    order by id desc limit 1
) as active on true
left join lateral (
    select created_at, error from sweeps where pipeline_id = p.id and kind = k.kind and scheduled order by id desc limit 1
) as last on true
left join lateral (
    select started_at from sweeps
    where pipeline_id = p.id and kind = k.kind and scheduled and state = 'done' order by id desc limit 1
) as good on true
left join lateral (
    select started_at from sweeps
    where pipeline_id = p.id and kind = 'full' and scheduled and state = 'done' order by id desc limit 1
) as wide on true;

-- name: sweeps_good
-- When the last sweep that finished began, by pipeline and kind.
select p.name as pipeline, s.kind, extract(epoch from max(s.started_at))::float8 as moment
from sweeps as s join pipelines as p on p.id = s.pipeline_id
where s.state = 'done' and not s.dry_run
group by 1, 2;

-- name: compare
-- Objects of a page whose content the ledger does not know: position, and whether there is no row at all. "older": the
-- listed Last-Modified is before that of the result, so it must not be recorded as the newest.
select l.position::int - 1 as position, o.id is null as unknown,
       coalesce(o.state = 'done' and l.modified < date_trunc('second', coalesce(o.done_modified, o.newest_at)), false) as older
from unnest($2::text[], $3::text[], $4::timestamptz[]) with ordinality as l (key, etag, modified, position)
left join objects as o on o.pipeline_id = $1 and o.key = l.key
    -- The keys are in order. With these bounds the planner scans one range of the index.
    and o.key >= ($2::text[])[1] and o.key <= ($2::text[])[cardinality($2::text[])]
where o.id is null or not coalesce(case o.state
    -- A worker will read, or is reading, content at least as new.
    when 'pending' then o.event_etag = l.etag or (o.event_etag is null and o.newest_at >= l.modified)
    when 'leased' then o.event_etag = l.etag or (o.event_etag is null and o.newest_at >= l.modified)
    -- The result is of this content, or the listing lags behind the result, which lasts an hour at most.
    when 'done' then o.done_etag = l.etag or (
        l.modified < date_trunc('second', coalesce(o.done_modified, o.newest_at))
        and o.due_at > $5::timestamptz - interval '1 hour')
    -- The content that failed was announced with this ETag, or was read long after this content was written.
    when 'parked' then o.event_etag = l.etag or o.leased_at > l.modified + make_interval(secs => $6)
    when 'forgotten' then l.modified <= o.due_at
    -- The deletion was confirmed after the page was requested.
    when 'gone' then o.due_at >= $5::timestamptz
    end, false)
order by l.position;

-- name: missing
-- Done or parked objects that a range of a listing (from $2 on, after $3, up to $4) should show and does not ($6).
select o.key
from objects as o
where o.pipeline_id = $1 and o.key >= $2 and o.key > $3 and o.key <= $4
  and o.state in ('done', 'parked') and o.due_at < $5
  and not exists (select from unnest($6::text[]) as l (key) where l.key collate "C" = o.key)
order by o.key
limit $7;

-- name: adopt
-- Record results from their manifests, for objects that have no row.
insert into objects (
    pipeline_id, key, state, lane, due_at, event_at, seen_at, verdict, mark, event_etag, event_size, newest_at,
    token, done_etag, done_modified, done_at, published, done_verdict
)
select $1, a.key, 'done', 'work', n.now, n.now, n.now, 'adopted', a.mark, a.etag, a.size, a.modified,
       a.token, a.etag, a.modified, n.now, a.published::jsonb, a.verdict
from unnest($2::text[], $3::bytea[], $4::text[], $5::bigint[], $6::timestamptz[], $7::bigint[], $8::text[],
            $9::result_verdict[])
         as a (key, mark, etag, size, modified, token, published, verdict),
     (select yurt_now() as now offset 0) as n
on conflict (pipeline_id, key) do nothing;

-- name: prune_objects
-- Delete rows of objects finished longer ago than $3 days, one batch of the table in the order of their numbers: an
-- index on time would make every update of a row more expensive. Returns the batch's last number, or null at the end.
with page as (
    select id from objects where id > $1 order by id limit $2
), old as (
    select o.id from objects as o
    where o.id = any (array(select id from page)) and o.state in ('done', 'gone', 'forgotten')
      and o.due_at < (select yurt_now()) - make_interval(days => $3)
    for update skip locked
), pruned as (
    delete from objects where id = any (array(select id from old)) returning 1
)
select (select max(id) from page) as last, (select count(*) from pruned) as pruned;

-- name: prune_quarantine
-- Delete a batch of quarantined events received more than $2 days ago.
with pruned as (
    delete from quarantine where id in (
        select id from quarantine where received_at < (select yurt_now()) - make_interval(days => $2) order by id limit $1
    ) returning 1
)
select count(*) as pruned from pruned;

-- name: prune_workers
-- Delete a batch of machines gone for more than $2 days. Their numbers are added to pruned_workers and pruned_ahead, so
-- counters stay.
with pruned as (
    delete from workers where id in (
        select id from workers
        where state = 'gone' and state_at < (select yurt_now()) - make_interval(days => $2) order by id limit $1
        for update skip locked
    ) returning pool, ref, cause, usd_spent, usd_before_lease
), counted as (
    insert into pruned_workers as p (pool, minted, slain)
    select pool, count(*), count(*) from pruned where ref is not null group by 1 order by 1
    on conflict (pool) do update set minted = p.minted + excluded.minted, slain = p.slain + excluded.slain
), ahead as (
    insert into pruned_ahead as p (pool, cause, minted, helped, usd)
    select pool, cause, count(*), count(usd_before_lease), sum(coalesce(usd_before_lease, usd_spent))
    from pruned where ref is not null and cause <> 'demand' group by 1, 2 order by 1, 2
    on conflict (pool, cause) do update set
        minted = p.minted + excluded.minted, helped = p.helped + excluded.helped, usd = p.usd + excluded.usd
)
select count(*) as pruned from pruned;

-- name: prune_sweeps
-- Delete a batch of sweeps that ended more than $2 days ago, except the last finished one of each kind, which the
-- schedule needs.
with pruned as (
    delete from sweeps where id in (
        select s.id from sweeps as s
        where s.finished_at < (select yurt_now()) - make_interval(days => $2)
          and exists (
              select from sweeps as later
              where later.pipeline_id = s.pipeline_id and later.kind = s.kind and later.scheduled = s.scheduled
                and later.state = 'done' and later.id > s.id)
        order by s.id limit $1
    ) returning 1
)
select count(*) as pruned from pruned;

-- name: seal
-- Transfer a worker's live lease to the control plane, for $4 seconds at least. Slaying the worker does not end the
-- lease any more. No row: the lease is lost.
update objects as o set worker_id = null, deadline = greatest(o.deadline, yurt_now() + make_interval(secs => $4))
where o.id = $1 and o.state = 'leased' and o.lane <> 'check' and o.token = $2 and o.worker_id = $3
returning o.id, o.pipeline_id, o.key, o.token, o.published, o.definition,
          extract(epoch from yurt_now() - o.leased_at)::float8 as held_seconds,
          extract(epoch from o.deadline - yurt_now())::float8 as left_seconds;

-- name: vanish
-- Prepare the removal of a checked object's outputs, if no event and no read has shown the object for $3 seconds. From
-- now on the last result does not count, and the lease lasts $4 seconds. No row: a region may only lag, or the lease is
-- lost.
update objects as o set publish_started = true, deadline = yurt_now() + make_interval(secs => $4)
where o.id = $1 and o.state = 'leased' and o.lane = 'check' and o.token = $2
  and coalesce(o.leased_at >= o.seen_at + make_interval(secs => $3), true)
returning o.published;

-- name: outputs_known
-- State and published outputs of objects. "settled": the result was complete before the sweep began ($3).
select key, state::text, state = 'done' and due_at < $3 as settled, token, published
from objects where pipeline_id = $1 and key = any ($2::text[]);

-- name: invalidate_results
-- Invalidate results whose outputs are no longer those published: the objects are processed again even if unchanged.
update objects set publish_started = true
where pipeline_id = $1 and key = any ($2::text[]) and state = 'done' and due_at < $3;

-- name: clock_behind
-- Seconds by which the clock is behind the latest reading; negative as a rule.
select extract(epoch from latest - (select yurt_now()))::float8 as behind_seconds from clock_reading;

-- name: keep_reading
-- Keep the clock's reading.
update clock_reading set latest = greatest(latest, yurt_now());

-- name: lock_reading
-- Lock the latest reading, so that one replica moves what another does not move too.
select latest, (select yurt_now()) as now from clock_reading for update;

-- name: replace_reading
-- Keep a reading although it is before the latest one.
update clock_reading set latest = $1;

-- name: move_objects
-- Move what lies after $1, the time now, back by $2. A lease that was given in the future is from before the clock was set
-- back. Its deadline is too, unless it was renewed since: then it lies before the moment at which the lease was given.
update objects set
    due_at = case when due_at > $1 then due_at - $2::interval else due_at end,
    event_at = case when event_at > $1 then event_at - $2::interval else event_at end,
    seen_at = case when seen_at > $1 then seen_at - $2::interval else seen_at end,
    leased_at = case when leased_at > $1 then leased_at - $2::interval else leased_at end,
    done_at = case when done_at > $1 then done_at - $2::interval else done_at end,
    deadline = case when leased_at > $1 and deadline > leased_at then deadline - $2::interval else deadline end
where greatest(due_at, event_at, seen_at, leased_at, done_at) > $1::timestamptz;

-- name: move_workers
-- The same for machines. What they said of handlers that cannot run is tried again.
update workers set
    created_at = case when created_at > $1 then created_at - $2::interval else created_at end,
    ready_at = case when ready_at > $1 then ready_at - $2::interval else ready_at end,
    seen_at = case when seen_at > $1 then seen_at - $2::interval else seen_at end,
    active_at = case when active_at > $1 then active_at - $2::interval else active_at end,
    state_at = case when state_at > $1 then state_at - $2::interval else state_at end,
    costed_at = case when costed_at > $1 then costed_at - $2::interval else costed_at end,
    rented_at = case when rented_at > $1 then rented_at - $2::interval else rented_at end,
    asked_at = case when asked_at > $1 then asked_at - $2::interval else asked_at end,
    leased_at = case when leased_at > $1 then leased_at - $2::interval else leased_at end,
    result_at = case when result_at > $1 then result_at - $2::interval else result_at end,
    service_ordered_at = case
        when service_ordered_at > $1 then service_ordered_at - $2::interval else service_ordered_at end,
    service_weights_at = case
        when service_weights_at > $1 then service_weights_at - $2::interval else service_weights_at end,
    service_ready_at = case when service_ready_at > $1 then service_ready_at - $2::interval else service_ready_at end,
    unavailable = '{}'
where greatest(
    created_at, ready_at, seen_at, active_at, state_at, costed_at, rented_at, asked_at, leased_at, result_at,
    service_ordered_at, service_weights_at, service_ready_at
) > $1::timestamptz;

-- name: move_sweeps
-- The same for sweeps: an earlier start lists more, never less.
update sweeps set
    due_at = case when due_at > $1 then due_at - $2::interval else due_at end,
    created_at = case when created_at > $1 then created_at - $2::interval else created_at end,
    started_at = case when started_at > $1 then started_at - $2::interval else started_at end,
    finished_at = case when finished_at > $1 then finished_at - $2::interval else finished_at end,
    since = case when since > $1 then since - $2::interval else since end
where greatest(due_at, created_at, started_at, finished_at, since) > $1::timestamptz;

-- name: move_remaining
-- The same for the moments at which invitations, certificates, tokens of apps, pipelines and unreadable texts came to be
-- or were used, and for the ends of wishes.
with invited as (
    update invitations set
        created_at = case when created_at > $1 then created_at - $2::interval else created_at end,
        used_at = case when used_at > $1 then used_at - $2::interval else used_at end
    where greatest(created_at, used_at) > $1::timestamptz
), signed as (
    update certificates set used_at = used_at - $2::interval where used_at > $1::timestamptz
), wished as (
    update wishes set until = until - $2::interval where until > $1::timestamptz
), issued as (
    update app_tokens set
        created_at = case when created_at > $1 then created_at - $2::interval else created_at end,
        revoked_at = case when revoked_at > $1 then revoked_at - $2::interval else revoked_at end,
        used_at = case when used_at > $1 then used_at - $2::interval else used_at end
    where greatest(created_at, revoked_at, used_at) > $1::timestamptz
), made as (
    update pipelines set created_at = created_at - $2::interval where created_at > $1::timestamptz
)
update quarantine set received_at = received_at - $2::interval where received_at > $1::timestamptz;

-- name: move_senders
-- The same for what is said of notifications that were taken and refused.
update senders set
    taken_at = case when taken_at > $1 then taken_at - $2::interval else taken_at end,
    refused_at = case when refused_at > $1 then refused_at - $2::interval else refused_at end
where greatest(taken_at, refused_at) > $1::timestamptz;

-- name: certificates
-- Certificates of SNS that have signed genuine messages, the latest first.
select url, pem from certificates order by used_at desc, url;

-- name: keep_certificate
-- Keep a certificate that has signed a genuine message, and the latest of the others, $3 in all.
with kept as (
    insert into certificates (url, pem) values ($1, $2)
    on conflict (url) do update set pem = excluded.pem, used_at = yurt_now()
), latest as (
    select url from certificates where url <> $1 order by used_at desc, url limit greatest($3 - 1, 0)
)
delete from certificates where url <> $1 and url not in (select url from latest);

-- name: beat
-- Note that a replica lives for $4 seconds more. "known": it was there before, and so is what it has written. What dead
-- replicas have written goes with them, and machines on which they had slots count as used until now.
with dead as (
    delete from replicas where until <= (select yurt_now()) and id <> $1 returning id
), used as (
    update service_machines set used_at = yurt_now()
    where worker_id in (select s.worker_id from service_slots as s join dead on dead.id = s.replica_id)
), before as (
    select count(*) as rows from replicas where id = $1 and until > (select yurt_now())
), renewed as (
    update replicas set until = (select yurt_now()) + make_interval(secs => $4), url = $3 where id = $1
), written as (
    -- No target: an answer may begin at this very moment, and write the same row (begin_answer). A conflict of the other
    -- unique column would be an error then.
    insert into replicas (id, token_hash, url, until)
    values ($1, $2, $3, (select yurt_now()) + make_interval(secs => $4))
    on conflict do nothing
)
select before.rows > 0 as known from before;

-- name: forget_replica
-- Forget a replica that leaves, and all that it has written.
delete from replicas where id = $1;

-- name: replica_known
-- Whether a token is of a replica that lives.
select exists (select from replicas where token_hash = $1 and until > (select yurt_now())) as known;

-- name: note_loads
-- Replace what a replica says of its requests: services, how many wait, how many are under way.
with others as (
    delete from service_loads where replica_id = $1 and service <> all ($2::text[])
)
insert into service_loads as l (replica_id, service, waiting, in_flight)
select $1, s.service, s.waiting, s.in_flight
from unnest($2::text[], $3::int[], $4::int[]) as s (service, waiting, in_flight)
where exists (select from replicas where id = $1)
on conflict (replica_id, service) do update set waiting = excluded.waiting, in_flight = excluded.in_flight
where (l.waiting, l.in_flight) <> (excluded.waiting, excluded.in_flight);

-- name: note_way
-- Note that a tunnel of a machine ends at a replica. Its server takes requests, then.
with way as (
    insert into service_ways (worker_id, replica_id, service)
    select m.worker_id, $2, m.service from service_machines as m
    where m.worker_id = $1 and m.service = $3 and exists (select from replicas where id = $2)
    on conflict (worker_id, replica_id) do update set service = excluded.service
)
update service_machines set state = 'ready', message = '', log = ''
where worker_id = $1 and service = $3 and state <> 'ready';

-- name: forget_way
-- Note that no tunnel of a machine ends at a replica any more.
delete from service_ways where worker_id = $1 and replica_id = $2;

-- name: serves
-- Which service a worker serves, if any.
select service from service_machines where worker_id = $1;

-- name: report_service
-- Note what a worker says of its server, and of its first one when it got that far. No row: it does not serve that service.
with noted as (
    update service_machines set
        state = $3, message = $4, log = $5, address = case when $6 = '' then address else $6 end
    where worker_id = $1 and service = $2 returning worker_id
), started as (
    update workers as w set
        service_ordered_at = coalesce(w.service_ordered_at, moment.now),
        service_weights_at = coalesce(
            w.service_weights_at, case when $3 in ('starting', 'ready') then moment.now end),
        service_ready_at = case when $3 = 'ready' then moment.now end
    from noted as n cross join (select yurt_now() as now offset 0) as moment
    where w.id = n.worker_id and w.service_ready_at is null and (
        w.service_ordered_at is null or $3 = 'ready' or ($3 = 'starting' and w.service_weights_at is null)
    )
)
select worker_id from noted;

-- fragment: live_slots
-- The slots of machine m that are taken.
select count(*) from service_slots as t join replicas as r on r.id = t.replica_id
where t.worker_id = m.worker_id and r.until > (select yurt_now());

-- fragment: service_needs
-- By service s (its name and concurrency): requests that wait at all replicas, those under way on machines that stay, and
-- its machines that stay. "kept": of these the ones that are not idle for long enough to be let go.
select s.name, s.concurrency, coalesce(l.waiting, 0) as waiting,
       least(coalesce(l.in_flight, 0), coalesce(m.held, 0)) as in_flight,
       coalesce(m.machines, 0) as machines, coalesce(m.kept, 0) as kept
from unnest($1::text[], $2::int[]) as s (name, concurrency)
left join lateral (
    select sum(a.waiting) as waiting, sum(a.in_flight) as in_flight
    from service_loads as a join replicas as r on r.id = a.replica_id and r.until > (select yurt_now())
    where a.service = s.name
) as l on true
left join lateral (
    select count(*) as machines, sum(held) as held,
           count(*) filter (where held > 0 or used_at > (select yurt_now()) - make_interval(secs => idle_seconds)) as kept
    from (
        select m.used_at, m.idle_seconds, ({{live_slots}}) as held
        from service_machines as m join workers as w on w.id = m.worker_id and w.state = 'ready'
        where m.service = s.name
    ) as each
) as m on true;

-- name: service_demand
-- How many machines services want, all together: for requests that wait or are under way, and those that are kept.
select coalesce(sum(greatest(ceil((n.waiting + n.in_flight)::float8 / n.concurrency), n.kept)), 0)::bigint as machines
from ({{service_needs}}) as n;

-- name: give_machines
-- Give a service ($1, an array of one, as $2) ready machines of a pool for as many of its requests as have none. Free
-- ones first; then those of other services that are idle for long enough to be let go. The caller holds the pool's lock.
insert into service_machines as given (worker_id, service, idle_seconds, used_at)
select w.id, ($1::text[])[1], $4, yurt_now()
from workers as w
left join service_machines as m on m.worker_id = w.id
where w.pool = $3 and w.state = 'ready' and w.serves
  and (m.worker_id is null or (
      m.service <> ($1::text[])[1] and ({{live_slots}}) = 0
      and m.used_at <= (select yurt_now()) - make_interval(secs => m.idle_seconds)
      and not exists (
          select from service_loads as a join replicas as r on r.id = a.replica_id and r.until > (select yurt_now())
          where a.service = m.service and a.waiting > 0
      )
  ))
order by m.worker_id is not null,
         (select count(*) from objects as o where o.worker_id = w.id and o.state = 'leased'), w.id desc
limit (
    select greatest(0, ceil((n.waiting + n.in_flight)::float8 / n.concurrency) - n.machines)
    from ({{service_needs}}) as n
)
on conflict (worker_id) do update set
    service = excluded.service, idle_seconds = excluded.idle_seconds, used_at = excluded.used_at,
    state = 'given', message = '', log = '', address = ''
returning given.worker_id;

-- name: notify_orders
-- Tell all replicas that these workers have other orders.
select pg_notify('yurt_orders', array_to_string($1::bigint[], ','));

-- name: claim_slots
-- Take up to $4 of the $5 slots of a machine that serves a service and is not to leave.
insert into service_slots (worker_id, slot, replica_id)
select w.id, n.slot, $3
from (select id from workers where id = $1 and state = 'ready' for share) as w  -- waits for one that drains it
join service_machines as m on m.worker_id = w.id and m.service = $2
join replicas as r on r.id = $3 and r.until > (select yurt_now())
cross join lateral (
    select g.slot from generate_series(1, $5::int) as g (slot)
    where not exists (select from service_slots as t where t.worker_id = w.id and t.slot = g.slot)
    order by 1 limit $4
) as n
on conflict do nothing
returning slot;

-- name: release_slots
-- Give slots back ($2 machines, $3 slots of them), whose last requests ended so many seconds ago ($4).
with given as (
    delete from service_slots as t using unnest($2::bigint[], $3::int[]) as g (worker_id, slot)
    where t.worker_id = g.worker_id and t.slot = g.slot and t.replica_id = $1
)
update service_machines as m set used_at = greatest(m.used_at, yurt_now() - make_interval(secs => g.seconds))
from (
    select worker_id, min(seconds) as seconds from unnest($2::bigint[], $4::float8[]) as g (worker_id, seconds) group by 1
) as g
where m.worker_id = g.worker_id;

-- name: service_machines
-- Machines that serve services ($1; null: all), with all that decides where a request goes: whether it is to leave, its
-- slots that are taken, those of replica $2, and the replicas at which its tunnels end, with their URLs.
select m.service, m.worker_id, w.label, w.pool, m.state, m.message, m.log, m.address, w.state = 'draining' as draining,
       ({{live_slots}}) as held,
       array(select t.slot from service_slots as t where t.worker_id = m.worker_id and t.replica_id = $2) as own_slots,
       array(
           select r.id from service_ways as y join replicas as r on r.id = y.replica_id
           where y.worker_id = m.worker_id and y.service = m.service and r.until > (select yurt_now()) order by r.id
       ) as replicas,
       array(
           select r.url from service_ways as y join replicas as r on r.id = y.replica_id
           where y.worker_id = m.worker_id and y.service = m.service and r.until > (select yurt_now()) order by r.id
       ) as urls,
       extract(epoch from (select yurt_now()) - m.used_at)::float8 as unused_seconds
from service_machines as m join workers as w on w.id = m.worker_id and w.state in ('ready', 'draining')
where $1::text[] is null or m.service = any ($1::text[])
order by m.service, m.worker_id;

-- name: service_loads
-- Requests that wait and that are under way at all replicas, by service.
select a.service, sum(a.waiting)::bigint as waiting, sum(a.in_flight)::bigint as in_flight
from service_loads as a join replicas as r on r.id = a.replica_id and r.until > (select yurt_now())
group by 1 order by 1;

-- name: pool_outlook
-- Whether machines of a pool will be ready, and why none is minted.
select coalesce((select not_minted from pool_reports where pool = $1), '') as not_minted,
       exists (select from workers where pool = $1 and state in ('intended', 'booting')) as starting;
-- fragment: app_token
-- What is shown of a token of an app.
id, name, hint, scopes, calls_per_second, burst_calls, created_at, expires_at, revoked_at, used_at,
revoked_at is not null as revoked, coalesce(expires_at <= (select yurt_now()), false) as expired;

-- name: issue_app_token
-- Keep a new token of an app, by its hash. It ends in $7 seconds; null: never.
insert into app_tokens (name, token_hash, hint, scopes, calls_per_second, burst_calls, expires_at)
values ($1, $2, $3, $4::text[], $5, $6, (select yurt_now()) + make_interval(secs => $7))
returning {{app_token}};

-- name: authenticate_app
-- The token of an app by its hash. Its last use is noted once a minute at most, and only while it is good.
with used as (
    update app_tokens set used_at = (select yurt_now())
    where token_hash = $1 and revoked_at is null and coalesce(expires_at > (select yurt_now()), true)
      and coalesce(used_at < (select yurt_now()) - interval '1 minute', true)
)
select {{app_token}} from app_tokens where token_hash = $1;

-- name: app_tokens
-- Tokens of apps, newest first, before $2. Those that have ended only where $1 asks for them.
select {{app_token}}
from app_tokens
where id < $2 and ($1 or (revoked_at is null and coalesce(expires_at > (select yurt_now()), true)))
order by id desc
limit $3;

-- name: revoke_app_token
-- Revoke a token of an app. One that was revoked before stays as it is.
update app_tokens set revoked_at = coalesce(revoked_at, (select yurt_now())) where id = $1
returning {{app_token}};

-- name: prune_app_tokens
-- Delete a batch of tokens that ended more than $2 days ago.
with pruned as (
    delete from app_tokens where id in (
        select id from app_tokens where least(revoked_at, expires_at) < (select yurt_now()) - make_interval(days => $2)
        order by id limit $1
    ) returning 1
)
select count(*) as pruned from pruned;

-- name: lock_definitions
-- Take the advisory lock of all definitions: owners replace their sets one at a time, each checked against the others.
select pg_advisory_xact_lock(hashtextextended('yurt definitions', 0));

-- name: definitions
-- Everything that is defined now, and the revision that this is, in one snapshot. One row without a kind: nothing is.
select last.revision, d.id, d.kind, d.name, d.owner, d.body, c.version, c.changed_by, c.changed_at
from (select coalesce(max(revision), 0) as revision from definition_changes) as last
left join (definitions as d join definition_changes as c on c.revision = d.since) on d.until is null
order by d.kind, d.name;

-- name: definitions_revision
-- The number of the last change of definitions.
select coalesce(max(revision), 0)::bigint as revision from definition_changes;

-- name: definition
-- One definition by its number, also one that holds no more.
select kind, name, body from definitions where id = $1;

-- name: change_definitions
-- Begin the next version of an owner's set.
insert into definition_changes (owner, version, note, changed_by)
select $1, coalesce(max(version), 0) + 1, $2, $3 from definition_changes where owner = $1
returning revision, version;

-- name: end_definitions
-- From revision $1 on these definitions hold no more.
update definitions set until = $1 where id = any ($2::bigint[]) and until is null;

-- name: add_definitions
-- From revision $1 on these definitions of an owner hold.
insert into definitions (since, owner, kind, name, body)
select $1, $2, * from unnest($3::text[], $4::text[], $5::json[]);

-- name: notify_definitions
-- Tell all replicas that definitions have changed.
select pg_notify('yurt_definitions', $1::text);

-- name: definition_versions
-- The versions of an owner's set, newest first, before $2, with the number of definitions in each.
select c.version, c.note, c.changed_by, c.changed_at,
    (select count(*) from definitions as d
     where d.owner = c.owner and d.since <= c.revision and coalesce(d.until > c.revision, true)) as definitions
from definition_changes as c where c.owner = $1 and c.version < $2 order by c.version desc limit $3;

-- name: definition_owners
-- Every owner that ever had a set, with the last version of it.
select c.owner, c.version, c.note, c.changed_by, c.changed_at,
    (select count(*) from definitions as d where d.owner = c.owner and d.until is null) as definitions
from definition_changes as c
where c.version = (select max(version) from definition_changes as l where l.owner = c.owner)
order by c.owner limit $1;

-- name: definitions_at
-- The definitions of one version of an owner's set; none where there is no such version.
select d.kind, d.name, d.body
from definition_changes as c
join definitions as d on d.owner = c.owner and d.since <= c.revision and coalesce(d.until > c.revision, true)
where c.owner = $1 and c.version = $2;

-- name: definition_version
-- Whether there is such a version of an owner's set.
select version from definition_changes where owner = $1 and version = $2;

-- name: lock_numbering
-- The position given last, locked: one transaction at a time gives positions.
select last from settle_numbering for update;

-- name: number_settles
-- Give up to $2 settles that are committed the positions after $1, and tell the replicas. In the order of their ids: of one
-- object's settles the earlier one has the lower id and was committed before the later one drew its own.
with unnumbered as (
    select id, row_number() over (order by id) as place
    from (select id from settles where position is null order by id limit $2) as first
), numbered as (
    update settles as s set position = $1 + u.place from unnumbered as u where s.id = u.id and s.position is null
    returning 1
), kept as (
    update settle_numbering set last = $1 + (select count(*) from numbered) where exists (select from numbered)
    returning last
)
select (select count(*) from numbered)::int as numbered, pg_notify('yurt_settled', last::text) from kept;

-- name: unnumbered_settles
-- Whether a settle waits for its position.
select exists (select from settles where position is null) as waiting;

-- name: settles_end
-- The position given last, and the last one that was deleted.
select last, pruned from settle_numbering;

-- fragment: settle
-- What is told of a settle.
s.position, s.object_id, s.pipeline_id, s.key, s.state::text, s.changed, s.etag, s.token, s.reason, s.message, s.settled_at;

-- name: settles_after
-- Settles after a position, in their order.
select {{settle}} from settles as s where s.position > $1 order by s.position limit $2;

-- name: latest_results
-- The objects that got a result last, the latest first: of the last $1 settles, at most $2.
select s.pipeline_id, s.key from settles as s
where s.position > (select last from settle_numbering) - $1::bigint and s.state = 'done' and s.changed
order by s.position desc limit $2;

-- name: settles_between
-- Settles of some pipelines ($3) below a prefix ($4), after $1 and up to $2.
select {{settle}} from settles as s
where s.position > $1 and s.position <= $2 and s.pipeline_id = any ($3::smallint[]) and starts_with(s.key, $4)
order by s.position;

-- name: prune_settles
-- Delete a batch of settles from more than $2 days ago, from the oldest on. What an outbox of callbacks has not followed
-- stays, unless nobody has followed it for a month.
with old as (
    select position from settles where position is not null order by position limit $1
), pruned as (
    delete from settles where position in (select position from old)
      and settled_at < (select yurt_now()) - make_interval(days => $2)
      and not exists (
          select from callback_feeds as f
          where f.position < settles.position and f.fed_at > (select yurt_now()) - interval '30 days'
      )
    returning position
), kept as (
    update settle_numbering set pruned = greatest(pruned, (select max(position) from pruned))
    where exists (select from pruned)
)
select count(*) as pruned from pruned;

-- fragment: upload_ticket
-- What is known of a ticket. A ticket is good only as long as the token that it was made with.
t.id, t.pipeline, t.folder, t.content_types, t.max_bytes, t.uploads, t.used, t.expires_at,
t.expires_at <= n.now as expired,
t.expires_at + make_interval(secs => $2) <= n.now as forgotten,
coalesce((select a.revoked_at is not null or coalesce(a.expires_at <= n.now, false)
          from app_tokens as a where a.id = t.token_id), t.token_id is not null) as orphaned;

-- name: issue_ticket
-- Keep a new ticket, by its hash.
insert into upload_tickets (ticket_hash, token_id, pipeline, folder, content_types, max_bytes, uploads, expires_at)
values ($1, $2, $3, $4, $5::text[], $6, $7, (select yurt_now()) + make_interval(secs => $8))
returning expires_at;

-- name: find_ticket
-- A ticket by its hash. What it uploaded may be finished and read for $2 seconds longer.
select {{upload_ticket}} from upload_tickets as t, (select yurt_now() as now offset 0) as n where t.ticket_hash = $1;

-- name: take_upload
-- Take one of the uploads that a ticket allows. Returns the number that is for its key alone. No row: there is none left.
update upload_tickets set used = used + 1, drawn = drawn + 1
where id = $1 and used < uploads and expires_at > (select yurt_now())
returning drawn;

-- name: return_upload
-- Give back an upload that could not begin.
update upload_tickets set used = used - 1 where id = $1 and used > 0;

-- name: prune_tickets
-- Delete a batch of tickets that expired more than $2 days ago.
with pruned as (
    delete from upload_tickets where id in (
        select id from upload_tickets where expires_at < (select yurt_now()) - make_interval(days => $2)
        order by expires_at limit $1
    ) returning 1
)
select count(*) as pruned from pruned;

-- name: begin_multipart
-- Keep a multipart upload that the store has begun, for $9 seconds.
insert into multipart_uploads (store_id, pipeline, bucket, key, bytes, part_bytes, ticket_id, create_only, expires_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, (select yurt_now()) + make_interval(secs => $9))
returning id, expires_at;

-- name: multipart
-- A multipart upload that is under way.
select id, store_id, pipeline, bucket, key, bytes, part_bytes, ticket_id, create_only, expires_at
from multipart_uploads where id = $1 and expires_at > (select yurt_now());

-- name: end_multipart
-- Forget a multipart upload that was completed or aborted.
delete from multipart_uploads where id = $1;

-- name: prune_multipart
-- Delete a batch of multipart uploads that ended more than $2 days ago.
with pruned as (
    delete from multipart_uploads where id in (
        select id from multipart_uploads where expires_at < (select yurt_now()) - make_interval(days => $2)
        order by expires_at limit $1
    ) returning 1
)
select count(*) as pruned from pruned;

-- name: begin_callback_feed
-- Begin a pipeline's outbox, at the end of the log: what was settled before it had a callback is not told.
insert into callback_feeds (pipeline_id, position, fed_at)
select $1, last, (select yurt_now()) from settle_numbering
on conflict do nothing;

-- name: callback_feed_behind
-- Whether the log of settles goes on after what is in a pipeline's outbox.
select exists (select from settles as s where s.position > f.position) as behind
from callback_feeds as f where f.pipeline_id = $1;

-- name: lock_callback_feed
-- How far a pipeline's outbox has followed the log, locked: one transaction at a time goes on, or replays.
select position from callback_feeds where pipeline_id = $1 for update;

-- name: feed_callbacks
-- Put the pipeline's settles among the next $3 of the log after $2 into its outbox. The caller holds the feed's lock. A
-- result that was there before is told to nobody.
with looked_at as (
    select max(position) as upto
    from (select position from settles where position > $2 order by position limit $3) as following
), added as (
    insert into callbacks (position, pipeline_id, object_id, key, settled_as, etag, token, reason, explanation, settled_at, due_at)
    select s.position, s.pipeline_id, s.object_id, s.key, s.state, s.etag, s.token, s.reason, s.message, s.settled_at, n.now
    from settles as s, looked_at, (select yurt_now() as now offset 0) as n
    where s.pipeline_id = $1 and s.position > $2 and s.position <= looked_at.upto and (s.state <> 'done' or s.changed)
    returning 1
)
update callback_feeds as f set position = l.upto, fed = f.fed + (select count(*) from added), fed_at = (select yurt_now())
from looked_at as l where f.pipeline_id = $1 and l.upto is not null
returning (select count(*) from added)::int as added;

-- name: claim_callbacks
-- Begin attempts of up to $2 callbacks of a pipeline: of each object only the one that is first in order. For $3 seconds
-- no other replica begins one of them. Nothing is claimed while the receiver at this URL (hash $4) is off.
with heads as (
    select c.id from callbacks as c, (select yurt_now() as now offset 0) as n
    where c.pipeline_id = $1 and c.state = 'waiting' and c.due_at <= n.now
      and not exists (
          select from callbacks as e
          where e.object_id = c.object_id and e.position < c.position and e.state = 'waiting' and e.pipeline_id = c.pipeline_id
      )
      and not exists (select from callback_feeds as f where f.pipeline_id = $1 and f.off_for = $4)
    order by c.due_at limit $2 for update of c skip locked
)
update callbacks as c set
    attempts = c.attempts + 1,
    first_at = coalesce(c.first_at, (select yurt_now())),
    due_at = (select yurt_now()) + make_interval(secs => $3)
from heads where c.id = heads.id and c.state = 'waiting'
returning c.id, c.message, c.position, c.key, c.settled_as::text, c.etag, c.token, c.reason, c.explanation, c.settled_at, c.attempts;

-- name: callback_told
-- The receiver has taken attempt $2 of a callback. "more": another one of the object has waited for it.
with told as (
    update callbacks set state = 'told', ended_at = (select yurt_now()), status = $3, error = null
    where id = $1 and attempts = $2 and state = 'waiting' returning pipeline_id, object_id, position
), counted as (
    update callback_feeds as f set told = f.told + 1 from told where f.pipeline_id = told.pipeline_id
)
select exists (
    select from callbacks as c
    where c.object_id = t.object_id and c.position > t.position and c.state = 'waiting' and c.pipeline_id = t.pipeline_id
) as more
from told as t;

-- name: callback_failed
-- Attempt $2 of a callback has failed: try again after $3 seconds, or give it up $6 seconds after its first attempt.
with failed as (
    update callbacks as c set
        state = case when c.first_at + make_interval(secs => $6) <= n.now then 'given-up' else 'waiting' end::callback_state,
        ended_at = case when c.first_at + make_interval(secs => $6) <= n.now then n.now end,
        due_at = n.now + make_interval(secs => $3), status = $4, error = $5
    from (select yurt_now() as now offset 0) as n
    where c.id = $1 and c.attempts = $2 and c.state = 'waiting' returning c.pipeline_id, c.state
)
update callback_feeds as f set given_up = f.given_up + 1
from failed where f.pipeline_id = failed.pipeline_id and failed.state = 'given-up';

-- name: callback_receiver_off
-- The receiver of a pipeline (hash $2 of its URL) wants to be told nothing more.
update callback_feeds set off_for = $2, off_at = (select yurt_now()) where pipeline_id = $1;

-- name: give_up_callbacks
-- Give up callbacks that waited for $2 seconds for a receiver that is off.
with old as (
    select c.id from callbacks as c join callback_feeds as f on f.pipeline_id = c.pipeline_id
    where c.pipeline_id = $1 and c.state = 'waiting' and f.off_for is not null
      and c.settled_at <= (select yurt_now()) - make_interval(secs => $2)
    order by c.id limit $3 for update of c skip locked
), given_up as (
    update callbacks as c set state = 'given-up', ended_at = (select yurt_now()), error = 'the receiver has turned its callbacks off'
    from old where c.id = old.id and c.state = 'waiting' returning c.pipeline_id
)
update callback_feeds as f set given_up = f.given_up + (select count(*) from given_up)
where f.pipeline_id = $1 and exists (select from given_up);

-- name: replay_callbacks
-- Let callbacks that have ended wait again, at once and with all their time: of each object only its latest, since an
-- older one would tell what is no longer so. The caller holds the feed's lock. Returns those that were and the outdated.
with chosen as (
    select c.id, c.state,
           exists (select from callbacks as l where l.object_id = c.object_id and l.pipeline_id = c.pipeline_id and l.position > c.position) as outdated
    from callbacks as c
    where c.pipeline_id = $1 and c.state <> 'waiting' and c.state = coalesce($2::callback_state, c.state)
      and ($3::bigint[] is null or c.id = any ($3))
    for update of c
), replayed as (
    update callbacks as c set
        state = 'waiting', attempts = c.attempts + 1, first_at = null, ended_at = null, due_at = (select yurt_now())
    from chosen where c.id = chosen.id and not chosen.outdated and not $4
    returning chosen.state
), recounted as (
    update callback_feeds as f set
        told = f.told - (select count(*) from replayed where state = 'told'),
        given_up = f.given_up - (select count(*) from replayed where state = 'given-up'),
        off_for = null, off_at = null
    where f.pipeline_id = $1 and not $4
)
select (select count(*) from chosen where not outdated)::int as replayed, (select count(*) from chosen where outdated)::int as outdated;

-- fragment: callback_shown
-- What operators are shown of a callback.
select c.id, 'msg_' || replace(c.message::text, '-', '') as message, p.name as pipeline, p.bucket, c.key, c.position, c.settled_as::text,
       c.etag, c.reason, c.explanation, c.settled_at, c.state::text, c.attempts, c.first_at, c.due_at, c.ended_at, c.status, c.error
from callbacks as c join pipelines as p on p.id = c.pipeline_id;

-- name: callback_page
-- Callbacks, the newest first: of a pipeline, in a state, of a key (null: any), before number $4.
{{callback_shown}}
where ($1::text is null or p.name = $1) and ($2::text is null or c.state = $2::callback_state) and ($3::text is null or c.key = $3)
  and ($4::bigint is null or c.id < $4)
order by c.id desc limit $5;

-- name: callback
-- One callback.
{{callback_shown}}
where c.id = $1;

-- name: callback_counts
-- By pipeline what became of its callbacks, how many wait, for how many seconds the oldest of them, whether the receiver
-- is off, and what is nowhere to be found: must be 0.
select p.name as pipeline, f.fed, f.told, f.given_up, w.waiting, w.oldest_seconds, f.off_at is not null as off,
       f.fed - f.told - f.given_up - w.waiting as unaccounted
from callback_feeds as f join pipelines as p on p.id = f.pipeline_id,
     lateral (select count(*) as waiting,
                     coalesce(extract(epoch from (select yurt_now()) - min(c.settled_at)), 0)::float8 as oldest_seconds
              from callbacks as c where c.pipeline_id = f.pipeline_id and c.state = 'waiting') as w
order by p.name;

-- name: prune_callbacks
-- Delete a batch of callbacks that were told or given up more than $2 days ago.
with pruned as (
    delete from callbacks where id in (
        select id from callbacks where state <> 'waiting' and ended_at < (select yurt_now()) - make_interval(days => $2)
        order by ended_at limit $1
    ) returning 1
)
select count(*) as pruned from pruned;

-- fragment: known_object
-- What apps are told of an object.
o.pipeline_id, o.key, o.state::text, o.lane::text, o.attempts, o.token, o.rerun_requested, o.event_at, o.event_size,
greatest(extract(epoch from o.due_at - (select yurt_now()))::float8, 0) as due_in_seconds, o.done_etag, o.done_modified,
o.done_at, o.published, o.error ->> 'reason' as reason, o.error ->> 'message' as message;

-- name: known_object
-- One object.
select {{known_object}} from objects as o where o.pipeline_id = $1 and o.key = $2;

-- name: known_objects
-- Objects whose keys begin with $2, so lie below $3, in the order of the keys' bytes, after $4.
select {{known_object}} from objects as o
where o.pipeline_id = $1 and o.key >= $2 and o.key <= $3 and o.key > $4 and starts_with(o.key, $2)
order by o.key
limit $5;

-- name: begin_answer
-- Note that a request's answer will be fetched later: its id, service, replica, and where its body will be. A replica
-- that was only just started is noted too, for $9 seconds: it lives, and has not said so yet.
with there as (
    insert into replicas (id, token_hash, url, until)
    values ($3, $7, $8, (select yurt_now()) + make_interval(secs => $9))
    on conflict do nothing
)
insert into service_answers (id, service, replica_id, bucket, key, expires_at)
values ($1, $2, $3, $4, $5, (select yurt_now()) + make_interval(secs => $6));

-- name: find_answer
-- An answer that has not expired. One that a replica had which is gone has failed.
select a.service, a.bucket, a.key, a.status, a.headers, a.bytes, a.error, a.message, a.expires_at,
       case when a.state = 'pending' and not exists (
           select from replicas as r where r.id = a.replica_id and r.until > (select yurt_now())
       ) then 'lost' else a.state end as state
from service_answers as a
where a.id = $1 and a.expires_at > (select yurt_now());

-- name: finish_answer
-- Note how a request has ended. No row: its answer is not wanted any more.
update service_answers set state = $2, status = $3, headers = $4::text::jsonb, bytes = $5, error = $6, message = $7
where id = $1 and state = 'pending'
returning id;

-- name: wanted_answers
-- Which of these answers are still wanted.
select id from service_answers where id = any ($1::text[]);

-- name: forget_answer
-- Forget an answer. Returns where its body is.
delete from service_answers where id = $1 returning bucket, key;

-- name: expired_answers
-- Answers that have expired, the oldest first.
select id from service_answers where expires_at <= (select yurt_now()) order by expires_at limit $1;
