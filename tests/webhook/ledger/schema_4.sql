-- A ledger of schema 4 with rows in every table and every state, as pg_dump --inserts wrote it.
CREATE TYPE public.lane AS ENUM (
    'work',
    'check'
);

CREATE TYPE public.object_state AS ENUM (
    'pending',
    'leased',
    'done',
    'parked',
    'gone',
    'forgotten'
);

CREATE TABLE public.clock (
    stopped_at timestamp with time zone NOT NULL
);

CREATE FUNCTION public.yurt_now() RETURNS timestamp with time zone
    LANGUAGE sql STABLE
    RETURN COALESCE((SELECT clock.stopped_at FROM public.clock LIMIT 1), clock_timestamp());

CREATE SEQUENCE public.lease_tokens
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

CREATE TABLE public.objects (
    id bigint NOT NULL,
    pipeline_id smallint NOT NULL,
    key text NOT NULL COLLATE pg_catalog."C",
    state public.object_state NOT NULL,
    lane public.lane NOT NULL,
    due_at timestamp with time zone NOT NULL,
    attempts smallint DEFAULT 0 NOT NULL,
    faults smallint DEFAULT 0 NOT NULL,
    heard_at timestamp with time zone NOT NULL,
    verdict text NOT NULL,
    mark bytea NOT NULL,
    heard_etag text,
    heard_size bigint,
    scheme text,
    ordinal bytea,
    newest_at timestamp with time zone,
    worker_id bigint,
    token bigint,
    deadline timestamp with time zone,
    again boolean DEFAULT false NOT NULL,
    again_lane public.lane,
    done_etag text,
    done_modified timestamp with time zone,
    done_at timestamp with time zone,
    published jsonb,
    error jsonb,
    leased_at timestamp with time zone,
    seen_at timestamp with time zone,
    touched boolean DEFAULT false NOT NULL,
    ordinal_latest bytea
)
WITH (fillfactor='85', autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_threshold='5000', autovacuum_vacuum_cost_delay='0');

ALTER TABLE public.objects ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.objects_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.pipelines (
    id smallint NOT NULL,
    name text NOT NULL,
    bucket text NOT NULL COLLATE pg_catalog."C",
    created_at timestamp with time zone DEFAULT public.yurt_now() NOT NULL
);

ALTER TABLE public.pipelines ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.pipelines_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.pruned_workers (
    pool text NOT NULL,
    minted bigint NOT NULL,
    slain bigint NOT NULL
);

CREATE TABLE public.quarantine (
    id bigint NOT NULL,
    source text NOT NULL,
    reason text NOT NULL,
    raw bytea NOT NULL,
    digest bytea NOT NULL,
    received_at timestamp with time zone DEFAULT public.yurt_now() NOT NULL,
    times bigint DEFAULT 1 NOT NULL
);

ALTER TABLE public.quarantine ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.quarantine_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.schema_version (
    version integer NOT NULL,
    applied_at timestamp with time zone DEFAULT now()
);

CREATE TABLE public.sweeps (
    id bigint NOT NULL,
    pipeline_id smallint NOT NULL,
    kind text NOT NULL,
    scheduled boolean NOT NULL,
    prefix text NOT NULL COLLATE pg_catalog."C",
    since timestamp with time zone,
    new_since timestamp with time zone,
    dry_run boolean NOT NULL,
    pages_per_second real NOT NULL,
    state text DEFAULT 'wanted'::text NOT NULL,
    stage text DEFAULT 'inputs'::text NOT NULL,
    cursor text DEFAULT ''::text NOT NULL COLLATE pg_catalog."C",
    adopts boolean,
    failures smallint DEFAULT 0 NOT NULL,
    due_at timestamp with time zone DEFAULT public.yurt_now() NOT NULL,
    pages bigint DEFAULT 0 NOT NULL,
    listed bigint DEFAULT 0 NOT NULL,
    known bigint DEFAULT 0 NOT NULL,
    found bigint DEFAULT 0 NOT NULL,
    adopted bigint DEFAULT 0 NOT NULL,
    missing bigint DEFAULT 0 NOT NULL,
    orphaned bigint DEFAULT 0 NOT NULL,
    removed bigint DEFAULT 0 NOT NULL,
    error text,
    created_at timestamp with time zone DEFAULT public.yurt_now() NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    CONSTRAINT sweeps_kind_check CHECK ((kind = ANY (ARRAY['backfill'::text, 'recent'::text, 'full'::text]))),
    CONSTRAINT sweeps_stage_check CHECK ((stage = ANY (ARRAY['inputs'::text, 'outputs'::text]))),
    CONSTRAINT sweeps_state_check CHECK ((state = ANY (ARRAY['wanted'::text, 'running'::text, 'done'::text, 'failed'::text, 'cancelled'::text])))
);

ALTER TABLE public.sweeps ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.sweeps_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.tally (
    shard smallint NOT NULL,
    pipeline_id smallint NOT NULL,
    name text NOT NULL,
    value bigint NOT NULL
)
WITH (fillfactor='50');

CREATE TABLE public.workers (
    id bigint NOT NULL,
    pool text NOT NULL,
    provider text NOT NULL,
    label text NOT NULL,
    ref text,
    state text NOT NULL,
    reason text DEFAULT ''::text NOT NULL,
    slots smallint NOT NULL,
    once_hash bytea NOT NULL,
    instance text,
    token_hash bytea,
    created_at timestamp with time zone DEFAULT public.yurt_now() NOT NULL,
    ready_at timestamp with time zone,
    seen_at timestamp with time zone,
    active_at timestamp with time zone,
    state_at timestamp with time zone DEFAULT public.yurt_now() NOT NULL,
    CONSTRAINT workers_state_check CHECK ((state = ANY (ARRAY['intended'::text, 'booting'::text, 'ready'::text, 'draining'::text, 'slaying'::text, 'gone'::text])))
);

ALTER TABLE public.workers ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.workers_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

INSERT INTO public.objects OVERRIDING SYSTEM VALUE VALUES (1, 1, 'pending.jpg', 'pending', 'work', '2026-11-25 23:12:03.58974+00', 1, 2, '2026-11-25 23:11:03.58974+00', 'accepted', '\x6d61726b', 'etag-pending', 1234, 'tigris', '\x01', '2026-05-15 10:30:00+00', NULL, 5, NULL, false, NULL, NULL, NULL, NULL, NULL, NULL, '2026-11-25 22:13:03.58974+00', '2026-11-25 23:13:03.58974+00', false, NULL);
INSERT INTO public.objects OVERRIDING SYSTEM VALUE VALUES (2, 1, 'done.jpg', 'done', 'work', '2026-11-25 23:12:03.58974+00', 1, 2, '2026-11-25 23:11:03.58974+00', 'accepted', '\x6d61726b', 'etag-done', 1234, 'tigris', '\x01', '2026-05-15 10:30:00+00', NULL, 5, NULL, false, NULL, 'etag-done', '2026-05-15 10:30:00+00', '2026-11-25 23:13:03.58974+00', '{"256.webp": "w1", "result.json": "m1"}', NULL, '2026-11-25 22:13:03.58974+00', '2026-11-25 23:13:03.58974+00', false, NULL);
INSERT INTO public.objects OVERRIDING SYSTEM VALUE VALUES (3, 1, 'gone.jpg', 'gone', 'work', '2026-11-25 23:12:03.58974+00', 1, 2, '2026-11-25 23:11:03.58974+00', 'accepted', '\x6d61726b', 'etag-gone', 1234, 'tigris', '\x01', '2026-05-15 10:30:00+00', NULL, 5, NULL, false, NULL, NULL, NULL, NULL, NULL, NULL, '2026-11-25 22:13:03.58974+00', '2026-11-25 23:13:03.58974+00', false, NULL);
INSERT INTO public.objects OVERRIDING SYSTEM VALUE VALUES (4, 1, 'parked.jpg', 'parked', 'work', '2026-11-25 23:12:03.58974+00', 1, 2, '2026-11-25 23:11:03.58974+00', 'accepted', '\x6d61726b', 'etag-parked', 1234, 'tigris', '\x01', '2026-05-15 10:30:00+00', NULL, 5, NULL, false, NULL, NULL, NULL, NULL, NULL, '{"log": "", "reason": "unreadable", "message": "It is no photo."}', '2026-11-25 22:13:03.58974+00', '2026-11-25 23:13:03.58974+00', false, NULL);
INSERT INTO public.objects OVERRIDING SYSTEM VALUE VALUES (5, 1, 'forgotten.jpg', 'forgotten', 'work', '2026-11-25 23:12:03.58974+00', 1, 2, '2026-11-25 23:11:03.58974+00', 'accepted', '\x6d61726b', 'etag-forgotten', 1234, 'tigris', '\x01', '2026-05-15 10:30:00+00', NULL, 5, NULL, false, NULL, 'etag-forgotten', NULL, NULL, NULL, NULL, '2026-11-25 22:13:03.58974+00', '2026-11-25 23:13:03.58974+00', false, NULL);
INSERT INTO public.objects OVERRIDING SYSTEM VALUE VALUES (6, 1, 'leased.jpg', 'leased', 'work', '2026-11-25 23:13:03.58974+00', 1, 0, '2026-11-25 23:13:03.58974+00', 'accepted', '\x78', 'v1', NULL, NULL, NULL, NULL, NULL, 7, '2036-11-25 23:13:03.58974+00', true, 'check', NULL, NULL, NULL, NULL, NULL, '2026-11-25 23:12:03.58974+00', NULL, true, NULL);
INSERT INTO public.objects OVERRIDING SYSTEM VALUE VALUES (7, 2, 'checked.mov', 'pending', 'check', '2026-11-25 23:13:03.58974+00', 0, 0, '2026-11-25 23:13:03.58974+00', 'accepted', '\x79', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, false, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, false, NULL);

INSERT INTO public.pipelines OVERRIDING SYSTEM VALUE VALUES (1, 'photos', 'photos-in', '2026-11-25 23:13:03.590597+00');
INSERT INTO public.pipelines OVERRIDING SYSTEM VALUE VALUES (2, 'videos', 'videos-in', '2026-11-25 23:13:03.590855+00');

INSERT INTO public.pruned_workers VALUES ('local', 12, 11);

INSERT INTO public.quarantine OVERRIDING SYSTEM VALUE VALUES (1, 'tigris', 'no key', '\x7261772074657874', '\x0102', '2026-11-25 23:13:03.594065+00', 3);

INSERT INTO public.schema_version VALUES (1, '2026-11-25 23:13:03.52884+00');
INSERT INTO public.schema_version VALUES (2, '2026-11-25 23:13:03.52884+00');
INSERT INTO public.schema_version VALUES (3, '2026-11-25 23:13:03.52884+00');
INSERT INTO public.schema_version VALUES (4, '2026-11-25 23:13:03.52884+00');

INSERT INTO public.sweeps OVERRIDING SYSTEM VALUE VALUES (1, 1, 'full', true, '', NULL, NULL, false, 20, 'running', 'inputs', 'a/b.jpg', NULL, 0, '2026-11-25 23:13:03.59477+00', 3, 3000, 0, 0, 0, 0, 0, 0, NULL, '2026-11-25 23:13:03.594776+00', NULL, NULL);
INSERT INTO public.sweeps OVERRIDING SYSTEM VALUE VALUES (2, 2, 'backfill', false, 'x/', NULL, NULL, true, 0, 'done', 'inputs', '', NULL, 0, '2026-11-25 23:13:03.5952+00', 1, 10, 0, 0, 0, 0, 0, 0, NULL, '2026-11-25 23:13:03.595206+00', NULL, NULL);

INSERT INTO public.tally VALUES (0, 1, 'received', 8);
INSERT INTO public.tally VALUES (0, 1, 'accepted', 7);
INSERT INTO public.tally VALUES (0, 1, 'coalesced', 1);
INSERT INTO public.tally VALUES (0, 1, 'done', 1);
INSERT INTO public.tally VALUES (0, 1, 'gone', 1);
INSERT INTO public.tally VALUES (0, 1, 'forgotten', 1);
INSERT INTO public.tally VALUES (0, 2, 'received', 1);
INSERT INTO public.tally VALUES (0, 2, 'accepted', 1);
INSERT INTO public.tally VALUES (0, 0, 'received', 1);
INSERT INTO public.tally VALUES (0, 0, 'quarantined', 1);

INSERT INTO public.workers OVERRIDING SYSTEM VALUE VALUES (1, 'local', 'local', 'yurt-local-intended', 'ref-intended', 'intended', '', 2, '\x941cef62ce38b3e5402d651c65898fac', 'instance-intended', NULL, '2026-11-25 23:13:03.591356+00', '2026-11-25 23:13:03.58974+00', '2026-11-25 23:13:03.58974+00', '2026-11-25 23:13:03.58974+00', '2026-11-25 23:13:03.591362+00');
INSERT INTO public.workers OVERRIDING SYSTEM VALUE VALUES (2, 'local', 'local', 'yurt-local-booting', 'ref-booting', 'booting', '', 2, '\xd65c11e75a00dfce899fc623ebf29c96', 'instance-booting', NULL, '2026-11-25 23:13:03.591714+00', '2026-11-25 23:13:03.58974+00', '2026-11-25 23:13:03.58974+00', '2026-11-25 23:13:03.58974+00', '2026-11-25 23:13:03.591718+00');
INSERT INTO public.workers OVERRIDING SYSTEM VALUE VALUES (3, 'local', 'local', 'yurt-local-ready', 'ref-ready', 'ready', '', 2, '\xb2fdab230a2c39f3595a947861863cb7', 'instance-ready', '\x54548070243aad62cef0698d5dbd5024', '2026-11-25 23:13:03.591733+00', '2026-11-25 23:13:03.58974+00', '2026-11-25 23:13:03.58974+00', '2026-11-25 23:13:03.58974+00', '2026-11-25 23:13:03.591737+00');
INSERT INTO public.workers OVERRIDING SYSTEM VALUE VALUES (4, 'local', 'local', 'yurt-local-draining', 'ref-draining', 'draining', '', 2, '\x5591c55cc1f76766490b4d83ba657c95', 'instance-draining', '\x5894718a5fffd064ceab473583b2cf29', '2026-11-25 23:13:03.591801+00', '2026-11-25 23:13:03.58974+00', '2026-11-25 23:13:03.58974+00', '2026-11-25 23:13:03.58974+00', '2026-11-25 23:13:03.591804+00');
INSERT INTO public.workers OVERRIDING SYSTEM VALUE VALUES (5, 'local', 'local', 'yurt-local-slaying', 'ref-slaying', 'slaying', '', 2, '\x4ce8e7b4134fbeb566658660b6a9b0a9', 'instance-slaying', NULL, '2026-11-25 23:13:03.591814+00', '2026-11-25 23:13:03.58974+00', '2026-11-25 23:13:03.58974+00', '2026-11-25 23:13:03.58974+00', '2026-11-25 23:13:03.591817+00');
INSERT INTO public.workers OVERRIDING SYSTEM VALUE VALUES (6, 'local', 'local', 'yurt-local-gone', 'ref-gone', 'gone', '', 2, '\x50c1f58be7f5e47e0f53d64c094783c2', 'instance-gone', NULL, '2026-11-25 23:13:03.591826+00', '2026-11-25 23:13:03.58974+00', '2026-11-25 23:13:03.58974+00', '2026-11-25 23:13:03.58974+00', '2026-11-25 23:13:03.591829+00');

SELECT pg_catalog.setval('public.lease_tokens', 1795648383539566, true);

SELECT pg_catalog.setval('public.objects_id_seq', 7, true);

SELECT pg_catalog.setval('public.pipelines_id_seq', 2, true);

SELECT pg_catalog.setval('public.quarantine_id_seq', 1, true);

SELECT pg_catalog.setval('public.sweeps_id_seq', 2, true);

SELECT pg_catalog.setval('public.workers_id_seq', 6, true);

ALTER TABLE ONLY public.objects
    ADD CONSTRAINT objects_pipeline_id_key_key UNIQUE (pipeline_id, key);

ALTER TABLE ONLY public.objects
    ADD CONSTRAINT objects_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.pipelines
    ADD CONSTRAINT pipelines_name_bucket_key UNIQUE (name, bucket);

ALTER TABLE ONLY public.pipelines
    ADD CONSTRAINT pipelines_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.pruned_workers
    ADD CONSTRAINT pruned_workers_pkey PRIMARY KEY (pool);

ALTER TABLE ONLY public.quarantine
    ADD CONSTRAINT quarantine_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.quarantine
    ADD CONSTRAINT quarantine_source_digest_key UNIQUE (source, digest);

ALTER TABLE ONLY public.schema_version
    ADD CONSTRAINT schema_version_pkey PRIMARY KEY (version);

ALTER TABLE ONLY public.sweeps
    ADD CONSTRAINT sweeps_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.tally
    ADD CONSTRAINT tally_pkey PRIMARY KEY (pipeline_id, name, shard);

ALTER TABLE ONLY public.workers
    ADD CONSTRAINT workers_label_key UNIQUE (label);

ALTER TABLE ONLY public.workers
    ADD CONSTRAINT workers_pkey PRIMARY KEY (id);

CREATE INDEX objects_deadline ON public.objects USING btree (deadline) WHERE (state = 'leased'::public.object_state);

CREATE INDEX objects_due ON public.objects USING btree (pipeline_id, lane, due_at) WHERE (state = 'pending'::public.object_state);

CREATE INDEX objects_parked ON public.objects USING btree (due_at, id) WHERE (state = 'parked'::public.object_state);

CREATE INDEX quarantine_received ON public.quarantine USING btree (received_at, id);

CREATE INDEX sweeps_active ON public.sweeps USING btree (due_at) WHERE (state = ANY (ARRAY['wanted'::text, 'running'::text]));

CREATE INDEX sweeps_latest ON public.sweeps USING btree (pipeline_id, kind, id);

CREATE INDEX workers_alive ON public.workers USING btree (pool) WHERE (state <> 'gone'::text);

CREATE UNIQUE INDEX workers_once ON public.workers USING btree (once_hash);

CREATE UNIQUE INDEX workers_token ON public.workers USING btree (token_hash) WHERE (token_hash IS NOT NULL);

ALTER TABLE ONLY public.objects
    ADD CONSTRAINT objects_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES public.pipelines(id);

ALTER TABLE ONLY public.sweeps
    ADD CONSTRAINT sweeps_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES public.pipelines(id);
