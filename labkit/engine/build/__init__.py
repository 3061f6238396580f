"""A Dockerfile becomes an image: as Docker's classic builder does it, a layer a step.

    >>> from labkit.engine.build import builder
    >>> image = builder.build(images, "/srv/web", tags=("web:v1",), report=lambda said: print(said.text, end=""))

    the text       dockerfile ── instructions        stages of instructions, each with its line
                   words, arguments, golang          variables in them; ARG; how Docker's history writes things
    the files      context ── ignore ── patterns     what COPY and ADD may take
    the steps      builder ── stage ┬─ sources, sums, copying     COPY and ADD: files into a layer
                                    ├─ running                    RUN: a container that writes into a layer
                                    └─ settings                   all others: another config
                   job, cache, working               what stages share; steps done before; the layer of a step
    the end        export                            blobs, a manifest, names
                   output                            what is said meanwhile

Source: Dockerfile reference. Shown in notebook 09.
"""
