"""Virtual machines: QEMU, a stock Debian kernel, and the same files that a container gets.

    kernel.py          the kernel and its modules, unpacked and never installed
    cpio.py            an archive of files that the kernel unpacks into memory before it starts the first program
    guest.py           that first program: a few lines of shell, and what it is told
    disks.py           the files on a disk, for what is too large to be held in memory
    hardware.py        the machine that QEMU is asked for: two sizes, and the devices each has
    acceleration.py    whether the processor helps (KVM) or is itself imitated (TCG): tried once, remembered
    qemu.py            the process, which never outlives its owner
    qmp.py             QEMU's own remote control
    console.py         what the machine prints, kept and waited for
    agent.py           commands in the machine, over a line of their own
    machine.py         all of it together: ``boot``

    >>> from labkit.vm import machine
    >>> with machine.boot("/tmp/rootfs") as vm: print(vm.run("uname", "-r").output)
    6.1.0-56-cloud-amd64

Nothing of a machine is on the disk but what is shared: kernel, disks, the answer about KVM. Sockets have no names, the archive is in
memory, changes to a disk go to a file that is deleted already. So there is nothing to clean up, however it ends. Notebook 08.
"""
