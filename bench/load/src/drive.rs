//! One run: one thread, all connections, a clock that says what is due.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use mio::{Events, Poll, Token};

use crate::connection::Connection;
use crate::control::Topic;
use crate::cpu;
use crate::fetch::Consumer;
use crate::produce::{self, Template};
use crate::report::{Measured, histogram};
use crate::workload::{Kind, Workload};

/// Below this the thread looks again and again instead of sleeping: a wake-up would come later than what is due.
const SPIN: Duration = Duration::from_millis(2);
/// How long answers that are still missing at the end are waited for.
const DRAIN: Duration = Duration::from_secs(10);

/// Runs `workload` against `topic` at `address`; `pid` is the broker's process, if its cost is wanted.
///
/// # Errors
/// A connection that breaks, an answer that cannot be read, a process that is gone.
pub fn run(workload: &Workload, address: SocketAddr, topic: Topic, pid: Option<u32>) -> Result<Measured> {
    Run::new(workload, address, topic, pid)?.drive()
}

struct Run<'w> {
    workload: &'w Workload,
    pid: Option<u32>,
    poll: Poll,
    producers: Vec<Connection>,
    consumers: Vec<Consumer>,
    templates: Vec<Template>,
    /// Requests made so far: names the partition and the connection that is next.
    made: u64,
    began: Instant,
    measured: Measured,
}

impl<'w> Run<'w> {
    fn new(workload: &'w Workload, address: SocketAddr, topic: Topic, pid: Option<u32>) -> Result<Run<'w>> {
        let poll = Poll::new()?;
        let producers = (0..workload.connections)
            .map(|i| Connection::open(address, poll.registry(), Token(i)))
            .collect::<Result<Vec<_>>>()?;
        let consumers = (0..if workload.kind == Kind::Fetch {
            workload.consumers
        } else {
            0
        })
            .map(|i| Consumer::open(address, poll.registry(), Token(workload.connections + i), topic))
            .collect::<Result<Vec<_>>>()?;
        let now_ms = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as i64);
        let templates = (0..workload.partitions)
            .map(|partition| Template::new(workload, topic, partition, now_ms))
            .collect::<Result<Vec<_>>>()?;
        let measured = Measured {
            latency_us: histogram(),
            requests: 0,
            bytes: 0,
            errors: 0,
            seconds: 0.0,
            broker_cpu_seconds: None,
            own_cpu_seconds: 0.0,
            broker_resident_bytes: None,
        };
        Ok(Run {
            workload,
            pid,
            poll,
            producers,
            consumers,
            templates,
            made: 0,
            began: Instant::now(),
            measured,
        })
    }

    fn drive(mut self) -> Result<Measured> {
        let mut events = Events::with_capacity(1024);
        self.began = Instant::now();
        let measure_from = self.began + Duration::from_secs(self.workload.warmup_seconds);
        let end = measure_from + Duration::from_secs(self.workload.seconds);
        let mut cpu_before = None;
        loop {
            let now = Instant::now();
            if now >= measure_from && cpu_before.is_none() {
                self.forget();
                cpu_before = Some((self.broker_cpu()?, cpu::seconds(std::process::id())?));
            }
            if now >= end {
                break;
            }
            let next = self.send_due(now)?;
            let wait = next.min(end).saturating_duration_since(Instant::now());
            self.poll.poll(
                &mut events,
                Some(if wait < SPIN { Duration::ZERO } else { wait - SPIN }),
            )?;
            self.receive(&events)?;
        }
        self.measured.seconds = end.duration_since(measure_from).as_secs_f64();
        if let Some((broker, own)) = cpu_before {
            self.measured.broker_cpu_seconds = self
                .broker_cpu()?
                .zip(broker)
                .map(|(after, before)| after - before);
            self.measured.own_cpu_seconds = cpu::seconds(std::process::id())? - own;
        }
        self.measured.broker_resident_bytes = self.pid.and_then(cpu::resident_bytes_max);
        // What is still missing was due within the measured time: its latency belongs to the distribution.
        let give_up = Instant::now() + DRAIN;
        let (requests, bytes) = (self.measured.requests, self.measured.bytes);
        while self.producers.iter().any(|c| c.in_flight() > 0) && Instant::now() < give_up {
            self.poll.poll(&mut events, Some(Duration::from_millis(10)))?;
            self.receive(&events)?;
        }
        self.measured.requests = requests;
        self.measured.bytes = bytes;
        Ok(self.measured)
    }

    fn forget(&mut self) {
        self.measured.latency_us.reset();
        self.measured.requests = 0;
        self.measured.bytes = 0;
        self.measured.errors = 0;
    }

    fn broker_cpu(&self) -> Result<Option<f64>> {
        self.pid
            .map(cpu::seconds)
            .transpose()
            .context("the broker's process")
    }

    /// Queues what is due on connections that have room, flushes, and says when to come back.
    fn send_due(&mut self, now: Instant) -> Result<Instant> {
        let far = now + Duration::from_millis(100);
        let mut next = far;
        if self.due().is_none() {
            for at in 0..self.producers.len() {
                while self.producers[at].in_flight() < self.workload.in_flight {
                    self.queue(at, now);
                }
            }
        } else {
            while let Some(due) = self.due() {
                if due > now {
                    next = next.min(due);
                    break;
                }
                // A full window is the broker's doing: what is due stays due, and its latency runs on.
                let Some(at) = self.with_room() else { break };
                self.queue(at, due);
            }
        }
        for connection in &mut self.producers {
            connection.flush(self.poll.registry())?;
        }
        for consumer in &mut self.consumers {
            consumer.ask(self.poll.registry())?;
        }
        Ok(next)
    }

    /// When the next request is due; none in a closed loop, where the answers set the pace.
    fn due(&self) -> Option<Instant> {
        let nanos = (self.made * 1_000_000_000).checked_div(self.workload.rate)?;
        Some(self.began + Duration::from_nanos(nanos))
    }

    fn with_room(&self) -> Option<usize> {
        let count = self.producers.len();
        let first = (self.made % count as u64) as usize;
        (0..count)
            .map(|i| (first + i) % count)
            .find(|&at| self.producers[at].in_flight() < self.workload.in_flight)
    }

    fn queue(&mut self, at: usize, due: Instant) {
        let template = &mut self.templates[(self.made % self.workload.partitions as u64) as usize];
        let stamp = match self.workload.kind {
            Kind::Produce => None,
            Kind::Fetch => Some(due.duration_since(self.began).as_nanos() as u64),
        };
        let answered = (self.workload.acks != 0).then_some(due);
        self.producers[at].queue(answered, |out| template.write(out, self.made as i32, stamp));
        self.made += 1;
        if self.workload.acks == 0 && self.workload.kind == Kind::Produce {
            self.measured.requests += 1;
            self.measured.bytes += template.batch_bytes() as u64;
        }
    }

    fn receive(&mut self, events: &Events) -> Result<()> {
        let measured = &mut self.measured;
        for event in events {
            let Token(at) = event.token();
            if let Some(connection) = self.producers.get_mut(at) {
                let batch_bytes = self.templates[0].batch_bytes() as u64;
                let is_produce = self.workload.kind == Kind::Produce;
                connection.receive(|due, answer| {
                    measured.errors += produce::errors(answer)?;
                    measured.requests += 1;
                    if is_produce {
                        measured.bytes += batch_bytes;
                        measured
                            .latency_us
                            .saturating_record(due.elapsed().as_micros() as u64);
                    }
                    Ok(())
                })?;
            } else if let Some(consumer) = self.consumers.get_mut(at - self.producers.len()) {
                let (began, record_bytes) = (self.began, self.workload.record_bytes);
                consumer.receive(|batch| {
                    measured.bytes += batch.len() as u64;
                    if let Some(stamp) = produce::stamp_of(batch, record_bytes) {
                        let under_way = began.elapsed().saturating_sub(Duration::from_nanos(stamp));
                        measured
                            .latency_us
                            .saturating_record(under_way.as_micros() as u64);
                    }
                })?;
            }
        }
        Ok(())
    }
}
