"""The fast path, held against the reference broker, the models and Apache Kafka."""
