//! KRaft: who leads the metadata quorum, and what it has committed. Pure.
