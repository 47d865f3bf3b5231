"""Proposals: what files of other tools say of an app. ``adoption`` reads them by these modules."""
