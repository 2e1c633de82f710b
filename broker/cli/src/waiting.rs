//! A wait for something that should pass by itself: told once to the person who watches, and given up in the end.
//!
//! What a newcomer would get wrong: a leader that changes is back in a moment, so a short wait is not worth a line.

use std::time::{Duration, Instant};

use anyhow::{Error, Result};

use crate::output;

/// A wait that lasts longer is told.
const TOLD_AFTER: Duration = Duration::from_secs(1);
/// A wait that lasts longer is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Since when something has been waited for.
#[derive(Debug, Default)]
pub struct Waiting {
    since: Option<Instant>,
    is_told: bool,
}

impl Waiting {
    /// What is waited for is still not there, because of `why`.
    ///
    /// # Errors
    /// `why`, when it has lasted too long.
    pub fn on(&mut self, why: Error) -> Result<()> {
        let waited = self.since.get_or_insert_with(Instant::now).elapsed();
        if waited >= PATIENCE {
            return Err(why);
        }
        if waited >= TOLD_AFTER && !self.is_told {
            self.is_told = true;
            output::tell(&format!("waiting: {}", output::one_line(&why)));
        }
        Ok(())
    }

    /// It is there; the next wait is another one.
    pub fn over(&mut self) {
        *self = Waiting::default();
    }
}
