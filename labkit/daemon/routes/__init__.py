"""What answers each path of Docker's Engine API: a file for each of Docker's nouns, with its table of routes at the end.

A handler takes the ``Api`` and a ``Request`` and gives an answer. It reads what was asked, calls the engine in a thread, and words what
came of it as the API has it; errors of the engine go up as they are. Source: Docker Engine API v1.47.
"""
