# `docker` means the lab's daemon, which has the classic builder.
export DOCKER_HOST=unix:///run/labkit/labkit.sock
export DOCKER_BUILDKIT=0
