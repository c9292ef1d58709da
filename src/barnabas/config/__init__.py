"""Every option of Kafka 4.3 and our own, declared once: parsing, DescribeConfigs, validation and docs come from here."""
