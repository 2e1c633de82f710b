//! Mistakes that are made on purpose, so that the simulator can show that it finds them.
//!
//! They exist under the feature `simulation` alone, and there only on a shard whose state names one
//! (`shards::current().set_state(Rc::new(Planted::...))`, before the dir is opened). Each is asked for at the
//! one line where the rule it breaks is kept.

/// The rule that is broken.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "simulation"),
    allow(dead_code, reason = "nothing makes a mistake then")
)]
pub enum Planted {
    /// A commit counts as durable before its sync (D4).
    AckBeforeSync,
    /// Some records do not get into the commit that vouches for them (D1).
    HoleInPrefix,
    /// A half of the journal is used again while it still protects something (D6).
    JournalReusedTooEarly,
    /// A truncation leaves no fence (D9).
    TruncationResurrected,
    /// The bytes of a commit change while they are being written (D8).
    BufferChangedInFlight,
    /// Replay takes no notice that a partition was deleted (D9, D11).
    DeletedTopicReplayed,
}

/// Whether this mistake is to be made here.
#[cfg(feature = "simulation")]
pub(crate) fn is(mistake: Planted) -> bool {
    shards::current()
        .try_state::<Planted>()
        .is_some_and(|planted| *planted == mistake)
}

/// Whether this mistake is to be made here: never.
#[cfg(not(feature = "simulation"))]
pub(crate) const fn is(_: Planted) -> bool {
    false
}

/// Changes `bytes` a little later, when they are on their way to the disk.
#[cfg(feature = "simulation")]
pub(crate) fn change_later(bytes: &bytes::Bytes) {
    let bytes = bytes.clone();
    shards::spawn(
        shards::Priority::Clients,
        async move { shards::sim::scribble(&bytes) },
    )
    .detach();
}

/// Changes nothing.
#[cfg(not(feature = "simulation"))]
pub(crate) const fn change_later(_: &bytes::Bytes) {}
