//! The settings of one log, as plain values.

/// What of a topic's configuration concerns storage; the defaults are Kafka's.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment that would grow beyond it is followed by a new one.
    pub segment_bytes: u32,
    /// `index.interval.bytes`: about how far index entries lie apart.
    pub index_interval_bytes: u32,
    /// `segment.index.bytes`: an index file that is this long makes the segment roll.
    pub segment_index_bytes: u32,
    /// `segment.ms`: a segment older than this is followed by a new one at the next append.
    pub segment_ms: i64,
    /// `producer.id.expiration.ms`: how long an idle producer is remembered.
    pub producer_expiration_ms: i64,
    /// `cleanup.policy` has `compact`: offsets may be missing between segments. Else that is a segment that is gone.
    pub is_compacted: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            index_interval_bytes: 4096,
            segment_index_bytes: 10 << 20,
            segment_ms: 7 * 24 * 3_600_000,
            producer_expiration_ms: 86_400_000,
            is_compacted: false,
        }
    }
}

impl LogConfig {
    pub(crate) fn to_numbers(self) -> [i64; 6] {
        [
            i64::from(self.segment_bytes),
            i64::from(self.index_interval_bytes),
            i64::from(self.segment_index_bytes),
            self.segment_ms,
            self.producer_expiration_ms,
            i64::from(self.is_compacted),
        ]
    }

    pub(crate) fn from_numbers(numbers: [i64; 6]) -> Self {
        let [bytes, interval, index, ms, expiration, compacted] = numbers;
        let small = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
        Self {
            segment_bytes: small(bytes),
            index_interval_bytes: small(interval),
            segment_index_bytes: small(index),
            segment_ms: ms,
            producer_expiration_ms: expiration,
            is_compacted: compacted != 0,
        }
    }
}
