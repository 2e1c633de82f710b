//! Open-loop load against any Kafka-compatible broker, with full latency histograms.
