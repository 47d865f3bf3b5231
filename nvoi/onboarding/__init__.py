"""From nothing to a config that can be deployed, by questions and answers.

``answers`` is what is known, ``wizard`` the way through the topics that ask for it and show it,
and ``document`` makes a config of it. Nothing here writes a file or reads the environment.
"""
