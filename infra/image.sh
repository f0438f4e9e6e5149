#!/bin/sh
# Builds the container image with whichever tool is here. BASE=…, TAG=… and BUILD_FLAGS=… change what, as what and how.
set -eu
cd "$(dirname "$0")/.."
TAG=${TAG:-yurt:latest}
set -- ${BASE:+--build-arg "BASE=$BASE"} ${BUILD_FLAGS:-} -t "$TAG" .
if command -v docker >/dev/null && docker info >/dev/null 2>&1; then exec docker build "$@"; fi
if command -v podman >/dev/null; then exec podman build --format docker "$@"; fi
if command -v buildah >/dev/null; then exec buildah build --format docker "$@"; fi
echo "make image needs docker, podman or buildah" >&2
exit 1
