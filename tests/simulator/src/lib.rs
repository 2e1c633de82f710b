//! Whole brokers in one thread under one seed, with hostile disks and networks.
