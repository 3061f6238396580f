"""``labkit.runtime.features``: what the runtime tells its callers."""

from __future__ import annotations

from labkit import codec
from labkit.runtime import features


def test_the_document_has_the_properties_of_the_specification() -> None:
    document = codec.encode(features.features())
    assert isinstance(document, dict)
    assert (document["ociVersionMin"], document["ociVersionMax"]) == ("1.0.0", "1.1.0")
    assert document["hooks"] == ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
    assert {"ro", "nosuid", "rbind", "rprivate", "rro", "tmpcopyup"} <= set(document["mountOptions"])
    linux = document["linux"]
    assert linux["namespaces"] == ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"]
    assert {"CAP_CHOWN", "CAP_CHECKPOINT_RESTORE"} <= set(linux["capabilities"])
    assert linux["cgroup"] == {"v1": True, "v2": True, "systemd": False, "systemdUser": False, "rdma": False}
    assert linux["seccomp"]["enabled"] is True
    assert "SCMP_ACT_ERRNO" in linux["seccomp"]["actions"] and "SCMP_CMP_EQ" in linux["seccomp"]["operators"]
    assert {"SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"} <= set(linux["seccomp"]["archs"])
    assert [linux[name]["enabled"] for name in ("apparmor", "selinux", "intelRdt")] == [False, False, False]
    assert linux["mountExtensions"] == {"idmap": {"enabled": True}}
