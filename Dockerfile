# Two images. The last stage runs the control plane and, with `yurt worker` as its command, a worker: make image
# The stage `worker` has only what a worker needs: make image BUILD_FLAGS=--target=worker TAG=yurt-worker
# Builds with docker, podman or buildah.
# By the digest of its index, so that no later push changes what is built. For another: BASE=… make image
ARG BASE=python:3.12-slim-bookworm@sha256:54c85f3c47607a77f32adec749d3c81d1348bf25833671f512b26a9b6d778cb3

FROM ${BASE} AS wheel
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements/build.txt requirements/worker.txt requirements/
RUN python3 -m venv /opt/build && /opt/build/bin/pip install --quiet --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE yurt.toml ./
COPY webhook webhook
COPY workers workers
COPY infra infra
COPY yurt yurt
RUN /opt/build/bin/python -m hatchling build -t wheel -d /dist

FROM ${BASE} AS installed
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
COPY requirements/runtime.txt /src/
RUN python3 -m venv /opt/yurt && /opt/yurt/bin/pip install --quiet --require-hashes -r /src/runtime.txt
COPY --from=wheel /dist /dist
RUN /opt/yurt/bin/pip install --quiet --no-deps --no-index /dist/*.whl \
 && rm -rf /opt/yurt/lib/python3*/site-packages/pip /opt/yurt/lib/python3*/site-packages/pip-*.dist-info

FROM ${BASE} AS installed-worker
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
COPY requirements/worker.txt /src/
RUN python3 -m venv /opt/yurt && /opt/yurt/bin/pip install --quiet --require-hashes -r /src/worker.txt
COPY --from=wheel /dist /dist
RUN /opt/yurt/bin/pip install --quiet --no-deps --no-index /dist/*.whl \
 && rm -rf /opt/yurt/lib/python3*/site-packages/pip /opt/yurt/lib/python3*/site-packages/pip-*.dist-info

FROM ${BASE} AS base
LABEL org.opencontainers.image.title="Yurt" org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/yurt yurt
ENV PATH=/opt/yurt/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    YURT_STATE=/var/lib/yurt YURT_WORK_DIR=/tmp
USER yurt
WORKDIR /var/lib/yurt
STOPSIGNAL SIGTERM
ENTRYPOINT ["yurt"]

# A worker has no port and so no health check: the control plane slays a silent worker.
FROM base AS worker
COPY --from=installed-worker /opt/yurt /opt/yurt
CMD ["worker"]

FROM base
COPY --from=installed /opt/yurt /opt/yurt
ENV YURT_SERVER__LISTEN=0.0.0.0:8080 YURT_CONFIG=/etc/yurt/yurt.toml
EXPOSE 8080
# For the control plane. Start a worker of this image with --no-healthcheck.
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s --retries=3 \
    CMD ["python3", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/readyz', timeout=2)"]
CMD ["serve"]
