# One image for the control plane and the workers: `yurt serve` (the default) or `yurt worker`.
# Builds with docker, podman or buildah: make image
ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python3 -m venv /opt/yurt
COPY requirements/runtime.txt requirements/build.txt requirements/
RUN /opt/yurt/bin/pip install --quiet --require-hashes -r requirements/runtime.txt \
 && python3 -m venv /opt/build && /opt/build/bin/pip install --quiet --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY webhook webhook
COPY workers workers
COPY infra infra
RUN /opt/build/bin/python -m hatchling build -t wheel -d /dist \
 && /opt/yurt/bin/pip install --quiet --no-deps --no-index /dist/*.whl \
 && rm -rf /opt/yurt/lib/python3*/site-packages/pip /opt/yurt/lib/python3*/site-packages/pip-*.dist-info

FROM ${BASE}
LABEL org.opencontainers.image.title="Yurt" org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/yurt yurt
COPY --from=build /opt/yurt /opt/yurt
ENV PATH=/opt/yurt/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    YURT_SERVER__LISTEN=0.0.0.0:8080 YURT_CONFIG=/etc/yurt/yurt.toml YURT_STATE=/var/lib/yurt YURT_WORK_DIR=/tmp
USER yurt
WORKDIR /var/lib/yurt
EXPOSE 8080
# For the control plane. A worker has no port: start it with --no-healthcheck; the control plane slays a silent worker.
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s --retries=3 \
    CMD ["python3", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/readyz', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["yurt"]
CMD ["serve"]
