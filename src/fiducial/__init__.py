"""A Kafka-compatible message log that is formally specified."""
