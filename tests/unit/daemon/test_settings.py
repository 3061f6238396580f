"""daemon.json: what can be said, and what is said of mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labkit.daemon import settings
from labkit.daemon.settings import Settings
from labkit.errors import InvalidInput


def load(place: Path, document: object) -> Settings:
    path = place / "daemon.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return settings.load(str(path))


def test_no_file_is_all_defaults(tmp_path: Path) -> None:
    assert settings.load(str(tmp_path / "none")) == Settings()
    assert load(tmp_path, {}) == Settings()


def test_all_that_can_be_said_is_read(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        {
            "registry-mirrors": ["http://127.0.0.1:5000"],
            "insecure-registries": ["10.0.0.0/8"],
            "data-root": "/data",
            "exec-root": "/run/lab",
            "cgroup-parent": "lab/containers",
            "hosts": ["unix:///run/lab.sock"],
            "group": "students",
            "debug": True,
            "log-level": "warn",
            "log-driver": "none",
            "log-opts": {"max-size": "10m"},
            "labels": ["room=7"],
            "bip": "172.17.0.1/16",
            "max-layer-bytes": 1000,
        },
    )
    assert found == Settings(
        registry_mirrors=("http://127.0.0.1:5000",),
        insecure_registries=("10.0.0.0/8",),
        max_layer_bytes=1000,
        data_root="/data",
        exec_root="/run/lab",
        cgroup_parent="lab/containers",
        hosts=("unix:///run/lab.sock",),
        group="students",
        debug=True,
        log_level="warn",
        log_driver="none",
        log_opts={"max-size": "10m"},
        labels=("room=7",),
        bip="172.17.0.1/16",
    )


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ({"registry-mirror": []}, "'registry-mirror' is no setting of this daemon: do you mean registry-mirrors?"),
        ({"swarm": True}, "'swarm' is no setting of this daemon: there are registry-mirrors, "),
        ({"debug": "yes"}, "debug: must be true or false, not 'yes'"),
        ({"registry-mirrors": "http://a"}, "registry-mirrors: must be an array, not 'http://a'"),
        ({"registry-mirrors": ["a"]}, "registry-mirrors: 'a' must be a URL"),
        ({"insecure-registries": ["http://a"]}, "insecure-registries: 'http://a' must be HOST"),
        ({"log-level": "loud"}, "log-level: must be one of debug, info, warn, error, fatal, not 'loud'"),
        ({"log-driver": "syslog"}, "log-driver: must be one of json-file, none, not 'syslog'"),
        ({"data-root": "here"}, "data-root: must be an absolute path, not 'here'"),
        ({"bip": "172.17.0.1"}, "bip: '172.17.0.1' must be an address with its network"),
        ({"bip": "172.17.0.0/16"}, "bip: "),
        ({"bip": "nonsense"}, "bip: "),
        ({"hosts": ["tcp://0.0.0.0:2375"]}, "hosts: 'tcp://0.0.0.0:2375' must be a unix socket"),
        ({"hosts": ["unix://relative"]}, "hosts: "),
        ({"log-opts": {"max-size": 10}}, "log-opts['max-size']: must be a string, not 10"),
        ("[]", "must be an object, not []"),
        ("{", "is not JSON: "),
    ],
)
def test_a_mistake_is_an_error_that_names_file_and_key(tmp_path: Path, document: object, complaint: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        load(tmp_path, document)
    assert str(caught.value).startswith(f"{tmp_path}/daemon.json: {complaint}")
