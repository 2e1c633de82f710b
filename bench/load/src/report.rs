//! What a run measured, as a table for people and as JSON for comparisons.

use comfy_table::{Table, presets};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::workload::Workload;

/// What one run measured, warm-up left out.
pub struct Measured {
    /// From when a request was due (a record: from when it was due to be written) to its answer, in microseconds.
    pub latency_us: Histogram<u64>,
    /// Produce requests answered.
    pub requests: u64,
    /// Bytes of record batches that were produced, or read where the workload fetches.
    pub bytes: u64,
    /// Answers with an error code.
    pub errors: u64,
    /// Measured time in seconds.
    pub seconds: f64,
    /// CPU seconds of the broker in that time, if its process is known.
    pub broker_cpu_seconds: Option<f64>,
    /// CPU seconds of this program in that time.
    pub own_cpu_seconds: f64,
    /// Largest resident size of the broker's process so far.
    pub broker_resident_bytes: Option<u64>,
}

/// The figures that are kept: rates, costs and quantiles.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What was asked for.
    pub workload: Workload,
    /// Measured time in seconds.
    pub seconds: f64,
    /// Answered produce requests per second.
    pub requests_per_second: f64,
    /// Record batch bytes per second, in MiB.
    pub mib_per_second: f64,
    /// Answers with an error code.
    pub errors: u64,
    /// Broker CPU seconds per GiB of record batches.
    pub broker_cpu_seconds_per_gib: Option<f64>,
    /// Broker CPU seconds per million requests, which is also microseconds per request.
    pub broker_cpu_seconds_per_million_requests: Option<f64>,
    /// CPU seconds of the load program per million requests.
    pub own_cpu_seconds_per_million_requests: f64,
    /// Largest resident size of the broker in MiB.
    pub broker_resident_mib: Option<f64>,
    /// Latency quantiles in microseconds.
    pub latency_us: Vec<Quantile>,
    /// How many latencies were recorded.
    pub latencies: u64,
}

/// One point of the latency distribution.
#[derive(Debug, Serialize)]
pub struct Quantile {
    /// Which: 50 is the median.
    pub percentile: f64,
    /// Microseconds.
    pub us: u64,
}

const PERCENTILES: [f64; 7] = [50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 100.0];

impl Report {
    /// The figures of a run.
    pub fn new(workload: &Workload, measured: &Measured) -> Report {
        let gib = measured.bytes as f64 / (1u64 << 30) as f64;
        let millions = measured.requests as f64 / 1e6;
        let per = |cost: f64, amount: f64| if amount > 0.0 { cost / amount } else { 0.0 };
        Report {
            workload: workload.clone(),
            seconds: measured.seconds,
            requests_per_second: per(measured.requests as f64, measured.seconds),
            mib_per_second: per(gib * 1024.0, measured.seconds),
            errors: measured.errors,
            broker_cpu_seconds_per_gib: measured.broker_cpu_seconds.map(|cpu| per(cpu, gib)),
            broker_cpu_seconds_per_million_requests: measured
                .broker_cpu_seconds
                .map(|cpu| per(cpu, millions)),
            own_cpu_seconds_per_million_requests: per(measured.own_cpu_seconds, millions),
            broker_resident_mib: measured
                .broker_resident_bytes
                .map(|bytes| bytes as f64 / (1 << 20) as f64),
            latency_us: PERCENTILES
                .iter()
                .map(|&percentile| Quantile {
                    percentile,
                    us: measured.latency_us.value_at_quantile(percentile / 100.0),
                })
                .collect(),
            latencies: measured.latency_us.len(),
        }
    }

    /// The table for people.
    pub fn to_text(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let mut row = |name: &str, value: String| {
            table.add_row(vec![name.to_owned(), value]);
        };
        row("requests/s", format!("{:.0}", self.requests_per_second));
        row("MiB/s", format!("{:.1}", self.mib_per_second));
        row("errors", self.errors.to_string());
        if let Some(cpu) = self.broker_cpu_seconds_per_gib {
            row("broker CPU s/GiB", format!("{cpu:.3}"));
        }
        if let Some(cpu) = self.broker_cpu_seconds_per_million_requests {
            row("broker CPU us/request", format!("{cpu:.2}"));
        }
        row(
            "own CPU us/request",
            format!("{:.2}", self.own_cpu_seconds_per_million_requests),
        );
        if let Some(mib) = self.broker_resident_mib {
            row("broker memory MiB (max)", format!("{mib:.0}"));
        }
        if self.latencies > 0 {
            for quantile in &self.latency_us {
                row(
                    &format!("p{}", quantile.percentile),
                    format!("{} us", quantile.us),
                );
            }
        }
        table.to_string()
    }
}

/// A histogram of microseconds up to ten minutes, with three significant digits.
pub fn histogram() -> Histogram<u64> {
    // The bounds are constants that hdrhistogram accepts; an auto-resizing one is the same but for its first size.
    Histogram::new_with_max(600_000_000, 3).unwrap_or_else(|_| unreachable!("constant bounds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_per_what_was_done() {
        let workload = Workload::parse("kind = \"produce\"\nrecord_bytes = 1024\nseconds = 2").unwrap();
        let mut measured = Measured {
            latency_us: histogram(),
            requests: 2_000_000,
            bytes: 2 << 30,
            errors: 0,
            seconds: 2.0,
            broker_cpu_seconds: Some(1.0),
            own_cpu_seconds: 4.0,
            broker_resident_bytes: Some(3 << 20),
        };
        measured.latency_us.record(100).unwrap();
        measured.latency_us.record(300).unwrap();
        let report = Report::new(&workload, &measured);
        assert_eq!(report.requests_per_second, 1_000_000.0);
        assert_eq!(report.mib_per_second, 1024.0);
        assert_eq!(report.broker_cpu_seconds_per_gib, Some(0.5));
        assert_eq!(report.broker_cpu_seconds_per_million_requests, Some(0.5));
        assert_eq!(report.own_cpu_seconds_per_million_requests, 2.0);
        assert_eq!(report.latency_us[0].us, 100);
        assert!(report.to_text().contains("broker CPU s/GiB"));
    }
}
