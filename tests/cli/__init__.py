"""The commands that look at a cluster, against Apache Kafka and both brokers of ours."""
