"""The deploy config: its encrypted file, its document, its checks, its dataclasses."""
