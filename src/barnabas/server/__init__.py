"""Kafka requests in, replies out: listeners, connections, dispatch, one handler file per API key."""
