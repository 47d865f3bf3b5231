"""The version, apart so that the build can read it without importing nvoi."""

__version__ = "0.3.0"
