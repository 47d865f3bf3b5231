"""Stateful stand-ins for what cannot run in a test: real sockets, real bytes, no mocks."""
