"""What others have measured: virtual machines and containers in the literature, to stand beside one's own figures.

    >>> from labkit.lab.comparison import published
    >>> print(published.FIGURES[0])
    boot of a unikernel VM / fork and exec of a process: 2.3 ms / 1 ms (Manco et al., SOSP 2017)

Compare ratios inside one machine, never times across machines: theirs were servers, with KVM or Xen, and nothing in between. And this lab
runs containers inside a virtual machine, for safety's sake, which Felter et al. advise against where speed is what counts.
"""

from __future__ import annotations

from labkit.records import record

CAUTION = "Compare ratios within one machine, never times across machines; and the lab itself runs containers inside a virtual machine."


@record
class Figure:
    """A published figure: what was measured, what came out, where it is to be found."""

    what: str
    figure: str
    source: str

    def __str__(self) -> str:
        return f"{self.what}: {self.figure} ({self.source})"


FIGURES = (
    Figure("boot of a unikernel VM / fork and exec of a process", "2.3 ms / 1 ms", "Manco et al., SOSP 2017"),
    Figure("a microVM boots to user space; its monitor's memory", "≤ 125 ms; ≤ 5 MiB", "Firecracker's specification; NSDI 2020"),
    Figure("start, whole stack: Docker / Kata (a VM for each container)", "≈ 100 / ≈ 600 ms", "van Rijn & Rellermeyer, Middleware 2021"),
    Figure("create, start, delete a container, caches dropped: crun / runc", "47.3 ms / 224.6 ms", "youki project, README"),
    Figure("Linpack, GFLOPS: native / Docker / KVM", "290.8 / 290.9 / 284.2", "Felter et al., ISPASS 2015"),
    Figure("random reads of 4 KiB a second: native / Docker / KVM", "84,044 / 84,092 / 42,543", "Felter et al., ISPASS 2015"),
    Figure("start under contention: a container can be as slow as a VM", "14,400 experiments", "Nguyen et al., Inria RR-9221, 2018"),
)
