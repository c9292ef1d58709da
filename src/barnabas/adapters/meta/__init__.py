"""Metadata stores: SQLite on disk, a dict in memory. One contract suite runs against both."""
