"""How much longer than on an ordinary machine a test waits for what should come: ``SECONDS = 30 * PATIENCE``.

A machine that is emulated is ten times slower or more: the same things happen there, later. ``scripts/test-vm`` sets LABKIT_PATIENCE.
"""

from __future__ import annotations

import os

PATIENCE = float(os.environ.get("LABKIT_PATIENCE", "1"))
