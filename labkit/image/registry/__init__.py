"""Registries: where images come from and go to, over HTTP (OCI distribution-spec 1.1).

    settings      daemon.json: mirrors, and registries that need no TLS
    endpoints     the places to ask for a name, in order
    credentials   user names and passwords, in Docker's own config.json
    auth          from a 401 to a header: basic, or a bearer token that somebody else gives out
    transport     one request: authorized, redirected, tried again, refused in words
    client        what a registry can do: manifests, blobs, tags
    upload        a blob to a registry: mounted, in one piece or in chunks
    pull, push    a whole image

    pull:  index.json ◀── manifest ◀── GET /v2/library/nginx/manifests/latest
           blobs      ◀── layer    ◀── GET /v2/library/nginx/blobs/sha256:…     three at a time
           snapshots  ◀── unpacked while it arrives

Shown in notebook 05.
"""
