"""The body of ``POST /containers/create``, from what was typed.

    >>> body(given, "busybox", ("true",))["HostConfig"]["Memory"]
    67108864

    options with ``to``                          each into its field
    -a -i -d                                     AttachStdin, …: which streams are followed
    -e --env-file --label --label-file           lists and maps, from files, too
    --health-…                                   Healthcheck
    -p --expose -v --tmpfs --network …           ports.py, mounts.py, networking.py

As docker's client does, it writes most fields, with values that mean "not said". ``InvalidInput`` says in docker's words what cannot be.
Source: ``cli/command/container/opts.go`` of github.com/docker/cli. Shown in notebook 06.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence

from labkit.cli.client import mounts, networking, ports
from labkit.cli.client.options import OPTIONS
from labkit.errors import InvalidInput

Given = Mapping[str, object]
Body = dict[str, object]

_LOCAL_NAMES = {"PidMode": "--pid: invalid PID mode", "UTSMode": "--uts: invalid UTS mode",
                "UsernsMode": "--userns: invalid USER mode", "CgroupnsMode": "--cgroupns: invalid CGROUP mode"}  # fmt: skip


def body(given: Given, image: str, command: Sequence[str], *, detached: bool = False, window: tuple[int, int] = (0, 0)) -> Body:
    """What to create. ``given`` has the options by click's names; ``window`` is the terminal's size."""
    made, host = _unsaid()
    made["HostConfig"] = host
    for each in OPTIONS:
        value = given.get(each.parameter)
        if each.to and value not in (None, ()):
            _put(made, each.to, list(value) if isinstance(value, tuple) else value)
    made |= {"Image": image, "Cmd": list(command) or None, "Labels": _labels(given)}
    made["Env"] = environment(_words(given, "env_file"), _words(given, "env")) or None
    made |= _streams(given, detached)
    if (entrypoint := given.get("entrypoint")) is not None:
        made["Entrypoint"] = [entrypoint]
    if (health := _health(given)) is not None:
        made["Healthcheck"] = health
    host["ConsoleSize"] = list(window)
    host["RestartPolicy"] = restart_policy(_word(given, "restart"))
    if host["AutoRemove"] and host["RestartPolicy"] != restart_policy(""):
        raise InvalidInput("conflicting options: cannot specify both --restart and --rm")
    host["Devices"] = [_device(text) for text in _words(given, "device")]
    host["Tmpfs"] = dict(text.partition(":")[::2] for text in _words(given, "tmpfs"))
    binds, anonymous = mounts.volumes(_words(given, "volume"))
    host["Binds"] = binds or None
    host["PortBindings"] = ports.published(_words(given, "publish"))
    made["Volumes"] = anonymous
    made["ExposedPorts"] = {port: {} for port in (*host["PortBindings"], *ports.exposed(_words(given, "expose")))}  # type: ignore[misc]
    host |= _mappings(given) | _security(_words(given, "security_opt"))
    _check(host)
    attached = networking.attachments(given.get("network") or (), given)  # type: ignore[arg-type]  # NETWORK makes them
    host["NetworkMode"] = attached[0].name
    if attached[0].mac:
        made["MacAddress"] = attached[0].mac  # older daemons read it here
    made["NetworkingConfig"] = {"EndpointsConfig": {each.name: each.settings for each in attached if each.name not in ("host", "none")}}
    return {name: value for name, value in made.items() if name not in ("ExposedPorts",) or value}


def restart_policy(text: str) -> Body:
    """``on-failure:3`` and its like."""
    name, colon, count = text.partition(":")
    if colon and not count.lstrip("-").isdigit():
        raise InvalidInput("invalid restart policy format: maximum retry count must be an integer")
    if text and not name:
        raise InvalidInput("invalid restart policy format: no policy provided before colon")
    return {"Name": name or "no", "MaximumRetryCount": int(count) if colon else 0}


def _unsaid() -> tuple[Body, Body]:
    """The body and its ``HostConfig``, of which nothing has been said yet."""
    body: Body = dict.fromkeys(("Hostname", "Domainname", "User", "WorkingDir"), "")
    body |= dict.fromkeys(("Tty", "OpenStdin"), False) | dict.fromkeys(("Entrypoint", "OnBuild"), None)
    host: Body = dict.fromkeys(("ContainerIDFile", "VolumeDriver", "CgroupnsMode", "IpcMode", "Cgroup", "PidMode", "UTSMode", "UsernsMode",
                                "Isolation", "CgroupParent", "CpusetCpus", "CpusetMems"), "")  # fmt: skip
    host |= dict.fromkeys(("OomScoreAdj", "ShmSize", "CpuShares", "Memory", "NanoCpus", "BlkioWeight", "CpuPeriod", "CpuQuota",
                           "CpuRealtimePeriod", "CpuRealtimeRuntime", "MemoryReservation", "MemorySwap", "PidsLimit", "CpuCount",
                           "CpuPercent", "IOMaximumIOps", "IOMaximumBandwidth"), 0)  # fmt: skip
    host |= dict.fromkeys(("AutoRemove", "Privileged", "PublishAllPorts", "ReadonlyRootfs", "OomKillDisable"), False)
    host |= dict.fromkeys(("VolumesFrom", "CapAdd", "CapDrop", "ExtraHosts", "GroupAdd", "Links", "SecurityOpt", "DeviceCgroupRules",
                           "DeviceRequests", "MaskedPaths", "ReadonlyPaths"), None)  # fmt: skip
    host |= {name: [] for name in ("Dns", "DnsOptions", "DnsSearch", "BlkioWeightDevice", "BlkioDeviceReadBps", "BlkioDeviceWriteBps",
                                   "BlkioDeviceReadIOps", "BlkioDeviceWriteIOps", "Ulimits")}  # fmt: skip
    return body, host | {"MemorySwappiness": -1, "LogConfig": {"Type": "", "Config": {}}}


def _put(body: Body, path: str, value: object) -> None:
    *way, last = path.split(".")
    place: object = body
    for step in way:
        assert isinstance(place, dict)
        place = place[step]
    assert isinstance(place, dict)
    place[last] = value


def _streams(given: Given, detached: bool) -> Body:
    """Which streams somebody follows. Unless ``-a`` says otherwise, that is the output, and the input with ``-i``."""
    wanted = _words(given, "attach")
    interactive = bool(given.get("interactive"))
    follows = {"AttachStdin": interactive, "AttachStdout": True, "AttachStderr": True}
    if wanted:
        follows = {name: name.removeprefix("Attach").lower() in wanted for name in follows}
    if detached:
        follows = dict.fromkeys(follows, False)
    return {**follows, "StdinOnce": interactive and follows["AttachStdin"]}


def environment(files: Sequence[str], given: Sequence[str]) -> list[str]:
    """``--env-file`` and ``-e``. A name alone is taken from our own environment; if it is not there, the container shall not have it."""
    found = [line for path in files for line in _lines(path, from_environment=True)]
    return found + [f"{text}={os.environ[text]}" if "=" not in text and text in os.environ else text for text in given]


def _labels(given: Given) -> dict[str, str]:
    files = [line for path in _words(given, "label_file") for line in _lines(path)]
    return dict(text.partition("=")[::2] for text in (*files, *_words(given, "label")))


def _lines(path: str, *, from_environment: bool = False) -> Iterator[str]:
    """``NAME=value`` from a file, a line each; after # comes a comment."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except OSError as error:
        raise InvalidInput(f"open {path}: {(os.strerror(error.errno or 0)).lower()}") from None
    except UnicodeDecodeError:
        raise InvalidInput(f"invalid utf8 bytes in {path}") from None
    for line in lines:
        line = line.lstrip()
        if not line or line.startswith("#"):
            continue
        name, equals, _ = line.partition("=")
        if not name:
            raise InvalidInput(f"no variable name on line '{line}'")
        if any(char.isspace() for char in name):
            raise InvalidInput(f"variable '{name}' contains whitespaces")
        if equals or not from_environment:
            yield line
        elif name in os.environ:
            yield f"{name}={os.environ[name]}"


def _health(given: Given) -> Body | None:
    times = {"Interval": "health_interval", "Timeout": "health_timeout", "StartPeriod": "health_start_period",
             "StartInterval": "health_start_interval"}  # fmt: skip
    command, retries = _word(given, "health_cmd"), given.get("health_retries")
    said = {field: given[name] for field, name in times.items() if given.get(name)}
    if given.get("no_healthcheck"):
        if command or said or retries:
            raise InvalidInput("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    for field, value in said.items():
        if isinstance(value, int) and value < 0:
            raise InvalidInput(f"--{times[field].replace('_', '-')} cannot be negative")
    if isinstance(retries, int) and retries < 0:
        raise InvalidInput("--health-retries cannot be negative")
    if not (command or said or retries):
        return None
    test = {"Test": ["CMD-SHELL", command]} if command else {}
    return {**test, **said, **({"Retries": retries} if retries else {})}


def _device(text: str) -> Body:
    """``/dev/sda[:/dev/xvda[:rwm]]``."""
    source, *rest = text.split(":")
    target, mode = source, "rwm"
    if len(rest) > 2:
        raise InvalidInput(f"invalid device specification: {text}")
    for part in rest:
        if part and set(part) <= set("rwm") and len(set(part)) == len(part):
            mode = part
        elif part.startswith("/") and part is rest[0]:
            target = part
        else:
            raise InvalidInput(f"bad mode specified: {part}" if part is rest[-1] and len(rest) > 1 else f"{part} is not an absolute path")
    if not source.startswith("/"):
        raise InvalidInput(f"{source} is not an absolute path")
    return {"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": mode}


def _mappings(given: Given) -> Body:
    """What is ``name=value`` many times."""
    log_options = _words(given, "log_opt")
    driver = _word(given, "log_driver")
    if driver == "none" and log_options:
        raise InvalidInput("invalid logging opts for driver none")
    storage = _words(given, "storage_opt")
    if any("=" not in text for text in storage):
        raise InvalidInput("invalid storage option")
    found: Body = {"LogConfig": {"Type": driver, "Config": _pairs(log_options)}}
    for field, texts in (("StorageOpt", storage), ("Sysctls", _words(given, "sysctl")), ("Annotations", _words(given, "annotation"))):
        if texts:
            found[field] = _pairs(texts)
    return found


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    return dict(text.partition("=")[::2] for text in texts)


def _security(options: Sequence[str]) -> Body:
    """``--security-opt``: a seccomp profile is read from its file here, since the daemon may be elsewhere."""
    found: list[str] = []
    paths: Body = {}
    for text in options:
        name, _, value = text.partition("=") if "=" in text else text.partition(":")
        if not value and text != "no-new-privileges":
            raise InvalidInput(f'Invalid --security-opt: "{text}"')
        if name == "systempaths" and value == "unconfined":
            paths = {"MaskedPaths": [], "ReadonlyPaths": []}
            continue
        if name == "seccomp" and value not in ("unconfined", "builtin"):
            try:
                with open(value, "rb") as file:
                    text = f"seccomp={json.dumps(json.load(file), separators=(',', ':'))}"
            except OSError as error:
                why = os.strerror(error.errno or 0).lower()
                raise InvalidInput(f"opening seccomp profile ({value}) failed: open {value}: {why}") from None
            except ValueError as error:
                raise InvalidInput(f"compacting json for seccomp profile ({value}) failed: {error}") from None
        found.append(text)
    return {"SecurityOpt": found or None, **paths}


def _check(host: Body) -> None:
    """What docker's client refuses by itself."""
    swappiness = host["MemorySwappiness"]
    if isinstance(swappiness, int) and not -1 <= swappiness <= 100:
        raise InvalidInput(f"invalid value: {swappiness}. Valid memory swappiness range is 0-100")
    allowed = {"PidMode": ("", "host", "container"), "UTSMode": ("", "host", "container"), "UsernsMode": ("", "host"),
               "CgroupnsMode": ("", "host", "private")}  # fmt: skip
    for field, modes in allowed.items():
        if str(host[field]).partition(":")[0] not in modes or host[field] == "container":
            raise InvalidInput(_LOCAL_NAMES[field])


def _words(given: Given, name: str) -> tuple[str, ...]:
    found = given.get(name) or ()
    assert isinstance(found, tuple)
    return found


def _word(given: Given, name: str) -> str:
    return str(given.get(name) or "")
