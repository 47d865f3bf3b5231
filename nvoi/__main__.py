"""``python -m nvoi``, and where the installed command begins."""

from __future__ import annotations

from nvoi.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    raise SystemExit(main())
