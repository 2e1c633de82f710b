//! A few plain threads for the calls that io_uring does not have: listing a directory, statvfs, fcntl.

#![allow(
    clippy::disallowed_methods,
    reason = "the one place of this engine that starts plain threads"
)]

use std::future::Future;
use std::io;

use flume::{Receiver, Sender};

type Job = Box<dyn FnOnce() + Send>;

/// The threads end when the last clone is dropped and all jobs are done.
#[derive(Clone)]
pub(crate) struct Pool {
    jobs: Sender<Job>,
}

impl Pool {
    /// Starts `threads` threads with a queue of 64 jobs.
    pub fn new(threads: usize) -> io::Result<Pool> {
        let (jobs, queue): (_, Receiver<Job>) = flume::bounded(64);
        for _ in 0..threads {
            let queue = queue.clone();
            std::thread::Builder::new()
                .name("klamm-files".into())
                .spawn(move || {
                    while let Ok(job) = queue.recv() {
                        job();
                    }
                })?;
        }
        Ok(Pool { jobs })
    }

    /// Runs `call` on one of the threads. Dropping the future cancels nothing once it was queued.
    pub fn run<T: Send + 'static, C: FnOnce() -> io::Result<T> + Send + 'static>(
        &self,
        call: C,
    ) -> impl Future<Output = io::Result<T>> + use<T, C> {
        let jobs = self.jobs.clone();
        let (reply, answer) = flume::bounded(1);
        let job: Job = Box::new(move || {
            let _ = reply.send(call()); // nobody may be waiting any more
        });
        async move {
            let gone = |_| io::Error::other("the threads for file calls have ended");
            jobs.send_async(job).await.map_err(|_| gone(()))?;
            answer.recv_async().await.map_err(|_| gone(()))?
        }
    }
}
