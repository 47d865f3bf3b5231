"""An app in a Kubernetes cluster: its manifests, the API, and what the API's answers mean."""
