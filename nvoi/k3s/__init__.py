"""k3s on servers: what they are like, what they lack, how they are joined into a cluster."""
