"""OCI images: what they are called, what they are made of, where they are kept and how they travel.

    references   the names: nginx → docker.io/library/nginx:latest
    documents    the JSON: descriptors, manifests, indexes, configs, as image-spec 1.1 and Docker's schema 2 word them
    platforms    which of an index's manifests suits this machine
    index        index.json of an image layout: which manifest has which name
    images       the images of a store: list, get, tag, remove, unpack
    archives     images in a tar: save, load, import
    inspect      an image as ``docker image inspect`` tells it
    registry     pull from and push to a registry

    name ──index.json──▶ manifest ──▶ config   (its digest is the image's ID)
                             └──────▶ layers   (unpacked, they are the snapshots that containers stand on)

Each arrow is a digest: whoever has the first may check all that follow. Shown in notebook 05.
"""
