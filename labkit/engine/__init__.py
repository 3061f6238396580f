"""Docker's nouns: images and how they are built, for the command line and the daemon.

    build/     a Dockerfile becomes an image
    users      who USER names, looked up in an image's own /etc/passwd

Notebooks 05 to 09 use it.
"""
