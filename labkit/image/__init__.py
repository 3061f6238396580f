"""OCI images: what they are called, what they are made of, where they are kept and how they travel.

    references       the names: nginx → docker.io/library/nginx:latest
    documents        the JSON: descriptors, manifests, indexes, configs, as image-spec 1.1 and Docker's schema 2 word them
      container_config, media, platforms      what a container gets; media types; which of an index's manifests suits a machine
    images           the images of a store: list, get, tag, remove, unpack
      index, contents, image, sizes           index.json; from an entry to its documents; an image and its layers' sizes
      removal, unpacking                      Docker's rules for rmi; layers into snapshots
    archives         images in a tar: save, load, import; what load finds in one is in archive_reading
    inspect          an image as ``docker image inspect`` tells it
    registry, progress                        pull from and push to a registry; what happens meanwhile

    name ──index.json──▶ manifest ──▶ config   (its digest is the image's ID)
                             └──────▶ layers   (unpacked, they are the snapshots that containers stand on)

Each arrow is a digest: whoever has the first may check all that follow. Shown in notebook 05.
"""
