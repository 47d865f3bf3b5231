"""What an app is to Kubernetes: manifests, kubectl's arguments, and what its answers mean.

All of it is pure: built from the config, or read from what kubectl printed.
"""
