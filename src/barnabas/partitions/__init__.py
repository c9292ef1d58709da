"""What the leader of a partition does: append, fetch, wait."""
