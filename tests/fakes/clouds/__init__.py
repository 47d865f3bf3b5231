"""Stand-ins for the APIs of clouds: stateful, over real HTTP, from their public documentation."""
