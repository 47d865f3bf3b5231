"""A whole deploy on this machine, seen live: `nvoi demo`."""
