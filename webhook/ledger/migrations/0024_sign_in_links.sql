-- Codes that each sign in one browser to the page, once. Only their SHA-256 is kept.

create table sign_in_links (
    code_hash bytea primary key,
    expires_at timestamptz not null
);
