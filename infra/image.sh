#!/bin/sh
# Builds the container image with docker, podman or buildah, whichever is installed.
# BASE=… is the base image, TAG=… the name of the image, BUILD_FLAGS=… are further flags for the tool.
set -eu
cd "$(dirname "$0")/.."
TAG=${TAG:-yurt:latest}
set -- ${BASE:+--build-arg "BASE=$BASE"} ${BUILD_FLAGS:-} -t "$TAG" .
if command -v docker >/dev/null && docker info >/dev/null 2>&1; then exec docker build "$@"; fi
if command -v podman >/dev/null; then exec podman build --format docker "$@"; fi
if command -v buildah >/dev/null; then exec buildah build --format docker "$@"; fi
echo "make image needs docker (with a running daemon), podman or buildah: install one of them" >&2
exit 1
