"""Container images: built here, pushed to the registry of the cluster, and removed from it."""
