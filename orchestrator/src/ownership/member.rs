//! Being a member, and clearing away those that are none any more.

use everstep_common::ports::Instant;
use everstep_common::store::{LEASES, PutError};
use everstep_common::wire;
use jiff::SignedDuration;

use super::record::{MemberRecord, member_key};
use super::service::Ownership;

/// How long a member that writes nothing is remembered. One that was only stopped for longer writes itself anew.
const REMEMBERED: SignedDuration = SignedDuration::from_mins(10);

/// Records cleared away between two renewals: leases must not wait long for it.
const CLEARED_AT_ONCE_MAX: usize = 4;

impl Ownership {
    pub(super) async fn renew_membership(&mut self, now: Instant) {
        if self.renewed.is_some_and(|renewed| now.since(renewed) < self.options.ttl / 3) {
            return;
        }
        match self.write_membership(false).await {
            Ok(revision) => {
                self.member = revision;
                self.renewed = Some(now);
                self.clear_away().await;
            }
            Err(PutError::Conflict) => self.find_membership().await,
            Err(error) => tracing::debug!(%error, "membership not renewed yet"),
        }
    }

    /// Nobody else writes our record, so the bucket was rolled back or the record cleared away: go on from what stands there now.
    async fn find_membership(&mut self) {
        match self.store.get_record(LEASES, &member_key(&self.process)).await {
            Ok(record) => self.member = record.map_or(0, |record| record.revision),
            Err(error) => tracing::debug!(%error, "membership not found yet"),
        }
    }

    async fn write_membership(&self, left: bool) -> Result<u64, PutError> {
        let record = MemberRecord {
            left,
            code: if left { Default::default() } else { self.code.told() },
        };
        let value = wire::encode(&record).map_err(|error| PutError::Rejected(error.to_string()))?;
        self.store
            .put_record(LEASES, &member_key(&self.process), value, self.member)
            .await
    }

    /// Each process start leaves a record behind; those that hold leases clear old ones away.
    async fn clear_away(&mut self) {
        let mut gone = self.watch.gone(REMEMBERED);
        gone.retain(|member| *member != self.process);
        let names = self.store.names();
        let (stream, holds_any) = (names.bucket_stream(LEASES), !self.held.is_empty());
        for member in gone.into_iter().take(CLEARED_AT_ONCE_MAX) {
            if holds_any {
                let subject = self.store.names().bucket_key(LEASES, &member_key(&member));
                if let Err(error) = self.store.broker().purge(&stream, &subject).await {
                    return tracing::debug!(%member, %error, "the record of a member that is gone was not cleared away yet");
                }
            }
            self.watch.forget(&member);
        }
    }

    pub(super) async fn say_good_bye(&self) {
        if self.member == 0 {
            return;
        }
        if let Err(error) = self.write_membership(true).await {
            tracing::debug!(%error, "good-bye not written; others find out by themselves");
        }
    }
}
