"""The cluster target: servers joined by k3s, reached over SSH."""
