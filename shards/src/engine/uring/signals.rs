//! SIGTERM and SIGINT: a handler writes one byte into a pipe, a plain thread reads it and tells the shard.
//!
//! Not a blocked mask with sigwait: threads that were started before would still be killed by the signal. What comes
//! before the handler is there is held ([`hold`]) until it is, and then reaches it on the thread that reads the pipe, the
//! only one that lets signals through.

#![allow(unsafe_code, reason = "installs a signal handler; each use has its proof")]
#![allow(
    clippy::disallowed_methods,
    reason = "starts the plain thread that reads the pipe"
)]

use std::io::{self, Read};
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use flume::Receiver;

use crate::side::Signal;

/// Where the handler writes: a handler can reach nothing but a static.
static PIPE: AtomicI32 = AtomicI32::new(-1);

/// Signals in the order they came.
pub(crate) struct Signals {
    arrived: Receiver<Signal>,
}

impl Signals {
    pub async fn next(&self) -> Signal {
        match self.arrived.recv_async().await {
            Ok(signal) => signal,
            // The thread cannot end while the pipe is open, and nobody closes it.
            Err(_) => std::future::pending().await,
        }
    }
}

extern "C" fn on_signal(signal: libc::c_int) {
    let byte = [signal as u8];
    // SAFETY: write(2) is async-signal-safe and reads one byte of `byte`. errno is put back as it was.
    unsafe {
        let errno = *libc::__errno_location();
        libc::write(PIPE.load(Ordering::Relaxed), byte.as_ptr().cast(), 1);
        *libc::__errno_location() = errno;
    }
}

/// See [`crate::side::signals`].
pub(super) fn signals() -> io::Result<Signals> {
    let mut ends = [-1; 2];
    // SAFETY: pipe2 writes two descriptors into the array.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both were just made and are owned by nobody else. The writing end is given to the handler and stays
    // open for ever (the earlier one too, when this is called again: a handler might be using it).
    let reading = unsafe { OwnedFd::from_raw_fd(ends[0]) };
    PIPE.store(ends[1], Ordering::SeqCst);
    let (tell, arrived) = flume::bounded(16);
    let (install, installed) = flume::bounded(1);
    std::thread::Builder::new()
        .name("klamm-signals".into())
        .spawn(move || {
            // Without its handler, a signal that is let through would end the process.
            if installed.recv().is_ok() {
                mask(libc::SIG_UNBLOCK).ok();
            }
            let mut pipe = std::fs::File::from(reading);
            let mut byte = [0];
            while let Ok(1) = pipe.read(&mut byte) {
                let signal = if i32::from(byte[0]) == libc::SIGINT {
                    Signal::Interrupt
                } else {
                    Signal::Terminate
                };
                if tell.send(signal).is_err() {
                    return;
                }
            }
        })?;
    for signal in [libc::SIGTERM, libc::SIGINT] {
        // SAFETY: a zeroed sigaction is a valid one; the handler is an `extern "C"` function that only does what is
        // safe in a handler. SA_RESTART: other threads' calls go on.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_signal as *const () as usize;
            action.sa_flags = libc::SA_RESTART;
            if libc::sigaction(signal, &action, std::ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
        }
    }
    // The thread waits for this; it has not ended.
    install.send(()).ok();
    Ok(Signals { arrived })
}

/// See [`crate::side::hold_signals`].
pub(crate) fn hold() -> io::Result<()> {
    mask(libc::SIG_BLOCK)
}

/// Changes how this thread, and those that it starts from now on, take SIGTERM and SIGINT.
fn mask(how: libc::c_int) -> io::Result<()> {
    // SAFETY: a zeroed set is overwritten by sigemptyset, and all three calls only use the set, which lives until they
    // return.
    let error = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in [libc::SIGTERM, libc::SIGINT] {
            libc::sigaddset(&mut set, signal);
        }
        libc::pthread_sigmask(how, &set, std::ptr::null_mut())
    };
    match error {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}
