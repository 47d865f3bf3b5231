"""From nothing to a config that can be deployed, by questions and answers.

``answers`` is what is known, ``sections`` ask for it, each its own part, and show it; ``wizard``
is the way through, and ``document`` makes a config of it. Nothing here writes a file or reads the
environment.
"""
