"""The kernel, one subject a file. Each opens with what it is, lines to try at a prompt, and its manual page.

syscalls        the one door: the calls that Python's os does not offer
processes       who runs, since when; waiting and signals that cannot hit the wrong one

namespaces      which copy of a table a process reads: host name, PIDs, mounts, network, …
box             the small process in new namespaces that a notebook looks around in
idmaps          who "user 0" of a user namespace is outside
links           the network links of a network namespace

mounts          file systems attached, bound, made read-only, masked; pivot_root
mountinfo       the table of mounts, as /proc/PID/mountinfo lists it
mountoptions    the words after mount -o
overlays        unions of directories, and the marks that they leave in a layer
paths           what a path means below another root
devices         /dev/null and the others, and who may use which

cgroups         limits and accounts of many processes together: versions 1 and 2
rlimits         limits of one process
capabilities    root's power in forty-one pieces
seccomp         a program that judges each system call; seccomp_default.json is Docker's and Podman's
sysctls         the settings under /proc/sys
pty             terminals made of software
"""
