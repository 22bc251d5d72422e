"""The history machine of `fiducial.conformance.exploration` at Apache Kafka and at our own brokers; what it found, as named cases."""
