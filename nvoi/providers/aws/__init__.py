"""Servers at Amazon Web Services: EC2, in a network of the app's own. Needs the extra ``aws``."""

from nvoi.providers.aws.provider import AWS

__all__ = ["AWS"]
