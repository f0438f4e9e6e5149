-- What machines cost while a service has them is the service's, and not idle time.

alter table spending drop constraint spending_phase_check;
alter table spending add constraint spending_phase_check
    check (phase in ('once', 'boot', 'work', 'service', 'idle'));
comment on column spending.pipeline is 'of phase "work"; of phase "service" the service; else empty';
