//! What must be true of a history of produce and consume calls, whoever recorded it.
