"""labkit as a client of the daemon: docker's commands for containers, networks, volumes and the system, over docker-py.

    $ labkit run -it busybox                     a person types docker's grammar …
         │  options.py   what may be typed, and where in the API's body it goes
         │  body.py      the body of POST /containers/create
         ▼
    api.py ── HTTP over /run/labkit/labkit.sock ──▶ labkit daemon          … and the daemon's API does it
         │
         ▼  foreground.py, terminal.py
    the container's streams, and its exit code

    kinds of option    values.py, grammar.py          one container's life   running.py, lifecycle.py, execs.py, explain.py
    what there is      listing.py, inspecting.py      what it does           logs.py, stats.py, events.py, files.py
    around it          volumes.py, networks.py, system.py

Each command sends what ``docker`` sends, prints what ``docker`` prints and ends with the same exit code. Shown in notebook 06.
"""
