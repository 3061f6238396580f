"""The process in which the doctor tries things: prints the rows as JSON."""

import json

from labkit.lab.doctor import daemon, images, kernel, limits, machine

rows = (*machine.rows(), *kernel.rows(), *limits.rows(), *daemon.rows(), *images.rows(), *machine.optional_rows())
print(json.dumps([row.as_dict() for row in rows]))
