"""Random histories, and whoever answers them: the model in process, the reference broker, Apache Kafka."""
