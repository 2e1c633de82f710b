//! The one place where inner errors become Kafka's error codes, by matches without a default arm.

use protocol::error_code::ErrorCode;
use storage::{AppendError, ReadError, StorageError};

/// Why a produced batch was not appended.
pub fn of_append(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::OutOfOrderSequence => ErrorCode::OutOfOrderSequenceNumber,
        AppendError::InvalidProducerEpoch => ErrorCode::InvalidProducerEpoch,
        AppendError::TooLarge => ErrorCode::RecordListTooLarge,
        AppendError::Malformed => ErrorCode::CorruptMessage,
        // The topic is being deleted, or the node stops: the client looks for the leader again.
        AppendError::Fenced => ErrorCode::NotLeaderOrFollower,
        AppendError::Offline(error) => of_storage(error),
    }
}

/// Why the disk did not do what was asked.
pub fn of_storage(error: &StorageError) -> ErrorCode {
    match error {
        StorageError::Io { .. } | StorageError::Damaged { .. } => ErrorCode::KafkaStorageError,
        StorageError::Locked { .. } | StorageError::Foreign { .. } => ErrorCode::KafkaStorageError,
        StorageError::Closed => ErrorCode::NotLeaderOrFollower,
        // Met where it is asked for, and answered with nothing; elsewhere the client may try again.
        StorageError::NoMemory => ErrorCode::RequestTimedOut,
        StorageError::TooLarge { .. } => ErrorCode::KafkaStorageError,
    }
}

/// Why nothing was read.
pub fn of_read(error: &ReadError) -> ErrorCode {
    match error {
        ReadError::OutOfRange => ErrorCode::OffsetOutOfRange,
        ReadError::NoMemory => of_storage(&StorageError::NoMemory),
        ReadError::Offline(error) => of_storage(error),
    }
}
