"""What a build says while it goes on, as Docker's classic builder words it.

    Step 2/3 : RUN apt-get update
     ---> Running in 5f2b3a9c1d0e
    … what the command writes …
    Removing intermediate container 5f2b3a9c1d0e
     ---> 3b0b9329b762

    >>> builder.build(images, "/srv/web", report=lambda said: print(said.text, end="", flush=True))

A command line prints the text as it comes, the daemon sends it on as ``{"stream": text}``. Shown in notebook 09.
"""

from __future__ import annotations

from collections.abc import Callable

from labkit.records import record


@record
class Output:
    """Some text, with its line ends. ``is_error``: a command of the build wrote it to its standard error.

    While a command says nothing, there is no text, now and then: so whoever listens can raise that nobody waits for the build any more.
    """

    text: str
    is_error: bool = False


Report = Callable[[Output], None]


def silent(_said: Output) -> None:
    """The ``Report`` of those who do not want to hear."""
