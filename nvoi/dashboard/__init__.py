"""The reference receiver of nvoi's callbacks, with a live page, on SQLite."""
