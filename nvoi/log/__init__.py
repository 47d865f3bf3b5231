"""The log: records, and the ways they go to the console and to a dashboard."""
