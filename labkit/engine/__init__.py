"""Docker's nouns, as plain Python objects: containers, images, networks, volumes, events, builds. For the command line and the daemon.

    >>> from labkit.engine.config import Config, HostConfig
    >>> from labkit.engine.engine import Engine
    >>> with Engine() as engine:
    ...     engine.containers.create("box", Config(Image="busybox", Cmd=("true",)), HostConfig(NetworkMode="none"))
    ...     engine.containers.get("box").start()

    engine          all of it, over one directory
    config          Docker's JSON of a container as records: Config, HostConfig (hostconfig), NetworkingConfig
    containers      made, found, listed (container_filters), renamed, pruned
    container       one of them, and its file (container_file)
      lifecycle     start ─▶ birth (oci, passwd, etc_files, root_layer) ─▶ labkit.runtime;  end ─▶ restarting, removal
      stopping      stop, kill, restart          changes   pause, resize, update
      supervision   one thread that waits for all ends              recovery   what was interrupted is put right
      oci           the OCI configuration: oci_mounts (mounting), oci_resources; verification refuses what cannot be
    events          what happens, told to whoever listens
    images          what comes from registries, goes there, and is built
    build/          a Dockerfile becomes an image
    users           who USER names, looked up in an image's own /etc/passwd
    networks, volumes

Source: Docker Engine API v1.47. Notebooks 05 to 09 use it.
"""
