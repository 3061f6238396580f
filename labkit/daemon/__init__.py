"""Docker's Engine API over the engine: what ``docker`` talks to with ``DOCKER_HOST=unix:///run/labkit/labkit.sock``.

    docker ──HTTP──▶ http ──Request──▶ router ──▶ routes/… ──▶ engine, in threads
           ◀──────── http ◀─Response──────────────┘

    http, messages, bodies    bytes of the wire, and what they mean
    router, queries           which function answers, and what its query says
    statuses                  errors of the engine as status codes: in that file alone
    settings                  daemon.json
    server, api               the process: socket, threads, signals
    routes/                   a file for each of Docker's nouns

Nothing below this package knows of HTTP. Source: Docker Engine API v1.47. Shown in notebook 06.
"""
