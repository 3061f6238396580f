#!/bin/sh
# Asked by invoke-rc.d whether a package may start its service: never in a container.
exit 101
