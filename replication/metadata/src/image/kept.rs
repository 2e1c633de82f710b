//! Records that this version does nothing with and must not lose: quotas, credentials, access rules, tokens.
//!
//! What a newcomer would get wrong: each is kept whole, as it was written, under what it is about; a later
//! record about the same thing replaces or removes it, so that a snapshot holds the last word.

use protocol::messages::{ClientQuotaRecord, MetadataRecord};

use crate::map::Map;
use crate::records::Records;

/// The records kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    records: Map<Subject, Vec<u8>>,
}

/// What a kept record is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Quota(Vec<(String, Option<String>)>, String),
    Credential(String, i8),
    AccessRule([u8; 16]),
    Token(String),
}

impl Kept {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Takes a record in if it is one of these; says whether it was.
    pub(super) fn apply(&mut self, record: &MetadataRecord<'_>, value: &[u8]) -> bool {
        match record {
            MetadataRecord::ClientQuota(quota) if quota.remove => self.remove(&quota_of(quota)),
            MetadataRecord::ClientQuota(quota) => self.put(quota_of(quota), value),
            MetadataRecord::UserScramCredential(one) => {
                self.put(Subject::Credential(one.name.to_owned(), one.mechanism), value)
            }
            MetadataRecord::RemoveUserScramCredential(one) => {
                self.remove(&Subject::Credential(one.name.to_owned(), one.mechanism))
            }
            MetadataRecord::AccessControlEntry(one) => self.put(Subject::AccessRule(one.id.0), value),
            MetadataRecord::RemoveAccessControlEntry(one) => self.remove(&Subject::AccessRule(one.id.0)),
            MetadataRecord::DelegationToken(one) => self.put(Subject::Token(one.token_id.to_owned()), value),
            MetadataRecord::RemoveDelegationToken(one) => {
                self.remove(&Subject::Token(one.token_id.to_owned()))
            }
            _ => return false,
        }
        true
    }

    fn put(&mut self, subject: Subject, value: &[u8]) {
        self.records.insert(subject, value.to_vec());
    }

    fn remove(&mut self, subject: &Subject) {
        self.records.remove(subject);
    }

    pub(super) fn write(&self, records: &mut Records) {
        for (_, value) in self.records.iter() {
            records.push_value(value.clone());
        }
    }
}

fn quota_of(quota: &ClientQuotaRecord<'_>) -> Subject {
    let entity = quota
        .entity
        .iter()
        .map(|one| (one.entity_type.to_owned(), one.entity_name.map(str::to_owned)));
    let mut entity: Vec<_> = entity.collect();
    entity.sort();
    Subject::Quota(entity, quota.key.to_owned())
}
