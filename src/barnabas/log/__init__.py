"""One partition on one disk, in Kafka's own on-disk format. Only the .log files are truth."""
