"""What images and containers keep on disk: contents by digest, and layers stacked into root file systems.

    store            one directory with all of it, and the lock of whoever changes it
    digests, blobs   the names of contents; contents by name, whole or not there
    compression      gzip and zstd as streams
    layers           archives unpacked once each, and stacked
      unpack         an archive done to a directory: target, trees, attributes see to it that nothing else is touched
      tar            the archive read: tar_fields
    pack, diff       an archive of what a container changed, and of what two directories differ in: members, copies
    snapshots        layers on disk, as overlayfs stacks them: union works out what they show
    gc               what nobody needs is deleted

    blob ──decompressed──▶ tar ──unpack──▶ snapshot ──overlay──▶ what a container sees
      ▲                                                                  │ changes
      └────── gzipped ◀── pack ◀── upper directory ◀─────────────────────┘

Shown in notebooks 03 and 05.
"""
