//! Kafka's bytes on the wire and on disk: pure, no clock, no socket, no file.
