"""Servers over SSH: one connection a host for a whole run, shared by all that goes on there.

:class:`nvoi.ssh.connections.Connections` is what a run has: ``run``, ``forward``, ``reaches``.
The rest of the package is what that is made of; importing it imports paramiko.
"""
