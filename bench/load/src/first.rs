//! How long a broker takes to be back: one record, tried until it is acknowledged.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail, ensure};

use crate::control::{Control, Topic};
use crate::produce::{self, Template};
use crate::workload::{Kind, Workload};

/// Between two tries; also how exact the answer is.
const PAUSE: Duration = Duration::from_millis(2);
const GIVE_UP: Duration = Duration::from_secs(60);

/// Returns once partition 0 of the existing topic `name` has acknowledged a record with acks=all.
///
/// # Errors
/// It has not within a minute.
pub fn wait(address: SocketAddr, name: &str) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < GIVE_UP {
        if let Ok(()) = attempt(address, name) {
            return Ok(());
        }
        sleep(PAUSE);
    }
    bail!(
        "{name}: no record was acknowledged within {} s",
        GIVE_UP.as_secs()
    )
}

fn attempt(address: SocketAddr, name: &str) -> Result<()> {
    let mut control = Control::connect(address)?;
    let Some(topic) = control.leaders(name)? else {
        bail!("{name}: no leader")
    };
    let workload = Workload {
        kind: Kind::Produce,
        acks: -1,
        record_bytes: 100,
        batch_records: 1,
        partitions: 1,
        connections: 1,
        consumers: 0,
        in_flight: 1,
        rate: 0,
        seconds: 1,
        warmup_seconds: 0,
    };
    let now_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64);
    let mut template = Template::new(
        &workload,
        Topic {
            partitions: 1,
            ..topic
        },
        0,
        now_ms,
    )?;
    let mut request = Vec::new();
    template.write(&mut request, 1, None);
    let answer = control.exchange(&request)?;
    ensure!(produce::errors(&answer)? == 0, "{name}: refused");
    Ok(())
}
