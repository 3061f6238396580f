"""A Dockerfile becomes an image: as Docker's classic builder does it, a layer a step.

    >>> from labkit.engine.build import builder
    >>> image = builder.build(images, "/srv/web", tags=("web:v1",), report=lambda said: print(said.text, end=""))

    dockerfile ─▶ instructions         the text, in stages of instructions          words    variables in them
    context ──── ignore, patterns      the files that COPY and ADD may take         golang   as Docker's history writes things
    builder ──── stage ┬─ copying      COPY and ADD: files into a layer
                       ├─ running      RUN: a container that writes into a layer
                       ├─ settings     all others: what changes in the image's config alone
                       └─ cache        what was built before of the same

Source: Dockerfile reference. Shown in notebook 09.
"""
