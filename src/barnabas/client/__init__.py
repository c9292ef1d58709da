"""A small internal Kafka client: what the command line and, later, brokers among themselves need. Opens no socket itself."""
