"""The words of the lab, in English and Chinese, each with a page that says more.

    >>> glossary.term("namespace").chinese
    '命名空间'
    >>> glossary.words()                     # in a notebook: the table of them all

A notebook links each word where it is first used to the table in ``00-start-here``. The man pages are on every machine
that has the lab (``man 7 namespaces``); the links lead to the same text on the web.
"""

from __future__ import annotations

import html
from dataclasses import dataclass

from labkit.errors import NotFound

_MAN = "https://man7.org/linux/man-pages/"
_KERNEL = "https://docs.kernel.org/"
_OCI = "https://github.com/opencontainers/"


@dataclass(frozen=True)
class Term:
    """One word: what it means in a sentence, the page behind it, and the number of the notebook that introduces it."""

    english: str
    chinese: str
    meaning: str
    page: str
    link: str
    notebook: str


def _man(name: str, section: int) -> tuple[str, str]:
    return f"man {section} {name}", f"{_MAN}man{section}/{name}.{section}.html"


TERMS = (
    Term("kernel", "内核", "the one program that runs the hardware; every process asks it for everything", *_man("intro", 2), "00"),
    Term("process", "进程", "a running program, known to the kernel by a number, its PID", *_man("credentials", 7), "00"),
    Term("container", "容器", "processes that the kernel shows a world of their own: namespaces, a control group and a root file system",
         "OCI runtime-spec", f"{_OCI}runtime-spec/blob/main/spec.md", "00"),
    Term("namespace", "命名空间", "the copy of one kernel table (host name, PIDs, mounts, …) that a process reads and writes",
         *_man("namespaces", 7), "01"),
    Term("mount point", "挂载点", "a directory at which a file system is attached; a mount namespace is a list of them",
         *_man("mount_namespaces", 7), "01"),
    Term("control group", "控制组", "a named set of processes that the kernel limits, weighs, counts and freezes together",
         *_man("cgroups", 7), "02"),
    Term("controller", "控制器", "the part of the kernel that manages one resource of control groups: memory, cpu, pids, io, …",
         "kernel: cgroup-v2", f"{_KERNEL}admin-guide/cgroup-v2.html", "02"),
    Term("throttling", "限流", "taking a group off the CPU until the next period, because its quota for this one is spent",
         "kernel: CFS bandwidth", f"{_KERNEL}scheduler/sched-bwc.html", "02"),
    Term("OOM killer", "内存耗尽杀手", "what the kernel does when memory cannot be found: it ends one process to save the others",
         *_man("proc", 5), "02"),
    Term("union filesystem", "联合文件系统", "several directory trees shown as one, the upper hiding the lower",
         "kernel: overlayfs", f"{_KERNEL}filesystems/overlayfs.html", "03"),
    Term("layer", "层", "one of those trees; an image is a stack of read-only ones",
         "OCI image-spec", f"{_OCI}image-spec/blob/main/layer.md", "03"),
    Term("copy-on-write", "写时复制", "share until someone writes, and copy only then; in overlayfs, file by file: copy-up",
         "kernel: overlayfs", f"{_KERNEL}filesystems/overlayfs.html#non-directories", "03"),
    Term("whiteout", "空白标记", "the mark in an upper layer that says: this name is deleted, whatever lies below",
         "kernel: overlayfs", f"{_KERNEL}filesystems/overlayfs.html#whiteouts-and-opaque-directories", "03"),
    Term("image", "镜像", "read-only layers and a note on how to start from them",
         "OCI image-spec", f"{_OCI}image-spec/blob/main/spec.md", "03"),
    Term("capability", "权能", "one piece of root's power, such as CAP_SYS_ADMIN, that a process has or lacks",
         *_man("capabilities", 7), "04"),
    Term("digest", "摘要", "the SHA-256 of some bytes, by which they are called and checked: sha256:9834…",
         "OCI image-spec", f"{_OCI}image-spec/blob/main/descriptor.md#digests", "05"),
    Term("manifest", "清单", "the document that makes an image: the digests of its config and of its layers",
         "OCI image-spec", f"{_OCI}image-spec/blob/main/manifest.md", "05"),
    Term("config", "配置", "what an image says of itself: the program to start, its environment, how its layers came about",
         "OCI image-spec", f"{_OCI}image-spec/blob/main/config.md", "05"),
    Term("tag", "标签", "a name in a repository that points to a manifest, and may point to another tomorrow",
         "OCI distribution-spec", f"{_OCI}distribution-spec/blob/main/spec.md#definitions", "05"),
    Term("registry", "仓库", "a server that stores images and hands them out by name and digest",
         "OCI distribution-spec", f"{_OCI}distribution-spec/blob/main/spec.md", "05"),
    Term("mirror", "镜像站", "a registry that hands out the images of another one, from nearer by",
         "Docker: registry mirrors", "https://docs.docker.com/docker-hub/image-library/mirror/", "05"),
    Term("client", "客户端", "a program that asks a server for what its user wants, and shows the answer: docker is one",
         "Docker: architecture", "https://docs.docker.com/get-started/docker-overview/#docker-architecture", "06"),
    Term("daemon", "守护进程", "a program that runs in the background and serves others; Docker's does what its client asks",
         *_man("daemon", 7), "06"),
    Term("pseudo-terminal", "伪终端", "a terminal made of software: what is typed at one end, a program reads at the other",
         *_man("pty", 7), "06"),
    Term("signal", "信号", "a number that interrupts a process: SIGTERM asks it to end, SIGKILL does not ask",
         *_man("signal", 7), "06"),
    Term("veth pair", "虚拟网卡对", "two links that are the ends of one cable; each may be in a network namespace of its own",
         *_man("veth", 4), "07"),
    Term("bridge", "网桥", "a switch in the kernel: it joins the links that are plugged into it",
         *_man("bridge", 8), "07"),
    Term("masquerade", "地址伪装", "to write the machine's own address on packets that leave it, and to translate the answers back",
         *_man("nft", 8), "07"),
    Term("port", "端口", "a number that says for which program at an address something is; published, it leads to a container's",
         *_man("ip", 7), "07"),
    Term("network address translation", "网络地址转换", "to rewrite where packets come from or go to, and to undo it in the answers: NAT",
         *_man("nft", 8), "07"),
    Term("virtual machine", "虚拟机", "a computer that a program plays, with a kernel of its own",
         "QEMU: introduction", "https://www.qemu.org/docs/master/system/introduction.html", "08"),
    Term("emulation", "模拟", "to play a processor by translating its instructions, where KVM cannot lend the real one",
         "QEMU: accelerators", "https://www.qemu.org/docs/master/system/introduction.html#virtualisation-accelerators", "08"),
    Term("access log", "访问日志", "what a server writes of each visitor: who asked for what, and what the answer was",
         "nginx: logging", "https://nginx.org/en/docs/http/ngx_http_log_module.html", "09"),
    Term("volume", "数据卷", "a directory that a container is shown, and that outlives it",
         "Docker: volumes", "https://docs.docker.com/engine/storage/volumes/", "09"),
    Term("proxy", "代理", "a server that passes on to others what it is asked",
         "nginx: proxying", "https://nginx.org/en/docs/http/ngx_http_proxy_module.html", "09"),
)


def term(english: str) -> Term:
    """The entry of an English word; ``NotFound`` if the lab has none."""
    for entry in TERMS:
        if entry.english == english:
            return entry
    raise NotFound(f"glossary: no word {english!r}")


class Words(tuple[Term, ...]):
    """Terms that show as a table."""

    def __repr__(self) -> str:
        return "\n".join(f"{t.notebook}  {t.english} {t.chinese}: {t.meaning} ({t.page})" for t in self)

    def _repr_html_(self) -> str:
        left = "style='text-align:left'"
        rows = "".join(
            f"<tr><td {left}><b>{t.english}</b></td><td {left} lang='zh'>{t.chinese}</td><td {left}>{html.escape(t.meaning)}</td>"
            f"<td {left}><a href='{t.link}'>{t.page}</a></td><td {left}>{t.notebook}</td></tr>"
            for t in self
        )
        heads = "".join(f"<th {left}>{head}</th>" for head in ("word", "中文", "what it is", "more", "from notebook"))
        return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def words() -> Words:
    """All terms, in the order in which the course introduces them."""
    return Words(TERMS)
