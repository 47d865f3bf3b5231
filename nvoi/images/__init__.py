"""The app's image: built on this machine, pushed to the cluster's registry, removed when old."""
