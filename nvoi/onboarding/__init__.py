"""From nothing to a config that can be deployed, by questions and answers."""
