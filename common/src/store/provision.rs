//! Making a deployment, changing what may be changed of it, and the record that says so to every process.
//!
//! ```text
//! may it become so? ──▶ streams and consumers ──▶ record (compare-and-set)
//! ```
//!
//! What is refused leaves nothing behind; what is interrupted can be done again. The record comes last, so whoever reads it finds
//! every stream that it speaks of.

use std::sync::Arc;

use bytes::Bytes;

use super::Backoff;
use super::create::NO_STREAM_TRIES_MAX;
use super::deployment::{ACK_WAIT_MIN, DEPLOYMENT_KEY, Deployment, DeploymentError, LEASES};
use crate::ids::Prefix;
use crate::limits::{PARTITIONS_MAX, REPLICAS_MAX};
use crate::ports::{Broker, Clock, Ensured, Expect, GetLast, Publish, PublishError, ReadError};
use crate::subject::Names;
use crate::topology::Durability;
use crate::wire;

/// A record as it was read.
struct Standing {
    deployment: Deployment,
    revision: u64,
}

impl Deployment {
    /// Makes what is missing and checks what is there; which streams were made. Doing it again changes nothing.
    ///
    /// A deployment that is there already may get more partitions ([`Deployment::grown_to`]) and another durability; anything else
    /// that differs is refused before anything is made.
    pub async fn provision(&self, broker: &Arc<dyn Broker>, clock: &dyn Clock) -> Result<Vec<(String, Ensured)>, DeploymentError> {
        self.validate()?;
        let names = Names::new(self.prefix.clone());
        let standing = Self::find(broker, &self.prefix).await?;
        if let Some(standing) = &standing {
            standing.deployment.changes_to(self)?;
        }
        let mut ensured = Vec::new();
        for stream in self.streams() {
            let did = broker.ensure_stream(&stream).await?;
            ensured.push((stream.name, did));
        }
        for partition in self.all_partitions() {
            broker
                .ensure_consumer(&names.timer_stream(partition), &self.timer_consumer(&names, partition))
                .await?;
        }
        broker
            .ensure_consumer(&names.trigger_stream(), &self.trigger_consumer(&names))
            .await?;
        self.record(broker, clock, &names, standing).await?;
        Ok(ensured)
    }

    /// The deployment under `prefix`.
    pub async fn load(broker: &Arc<dyn Broker>, prefix: &Prefix) -> Result<Self, DeploymentError> {
        match Self::find(broker, prefix).await? {
            Some(standing) => Ok(standing.deployment),
            None => Err(DeploymentError::Missing { prefix: prefix.clone() }),
        }
    }

    /// What [`Deployment::provision`] of `wanted` would change of this one, each as `field: A → B`.
    ///
    /// # Errors
    ///
    /// [`DeploymentError::Differs`] if something of it cannot be changed.
    pub fn changes_to(&self, wanted: &Self) -> Result<Vec<String>, DeploymentError> {
        let level = |durability: Durability| format!("{durability:?}");
        // Where a keyed run is follows from the number of keyed partitions; task streams and consumers were made with the others.
        let fields = [
            (
                "partitions",
                self.partitions.to_string(),
                wanted.partitions.to_string(),
                wanted.partitions >= self.partitions,
            ),
            (
                "keyed_partitions",
                self.keyed_partitions.to_string(),
                wanted.keyed_partitions.to_string(),
                false,
            ),
            ("durability", level(self.durability), level(wanted.durability), true),
            ("replicas", self.replicas.to_string(), wanted.replicas.to_string(), false),
            (
                "ack_wait",
                format!("{:?}", self.ack_wait),
                format!("{:?}", wanted.ack_wait),
                false,
            ),
        ];
        let differing: Vec<_> = fields.into_iter().filter(|(_, found, wanted, _)| found != wanted).collect();
        if differing.iter().all(|(_, _, _, may_change)| *may_change) {
            let changes = differing.into_iter();
            return Ok(changes
                .map(|(field, found, wanted, _)| format!("{field}: {found} → {wanted}"))
                .collect());
        }
        let differences = differing.into_iter();
        Err(DeploymentError::Differs {
            differences: differences
                .map(|(field, found, wanted, _)| format!("{field}: wanted {wanted}, found {found}"))
                .collect(),
        })
    }

    async fn find(broker: &Arc<dyn Broker>, prefix: &Prefix) -> Result<Option<Standing>, DeploymentError> {
        let names = Names::new(prefix.clone());
        let request = GetLast {
            stream: names.bucket_stream(LEASES),
            subjects: vec![names.bucket_key(LEASES, DEPLOYMENT_KEY)],
            up_to: None,
            leader: true,
        };
        let snapshot = match broker.get_last(request).await {
            Err(ReadError::NoStream) => return Ok(None),
            answer => answer.map_err(DeploymentError::Read)?,
        };
        let Some(message) = snapshot.messages.into_iter().next() else {
            return Ok(None);
        };
        Ok(Some(Standing {
            deployment: wire::decode(&message.payload).map_err(DeploymentError::Undecodable)?,
            revision: message.sequence,
        }))
    }

    fn validate(&self) -> Result<(), DeploymentError> {
        let invalid = |reason: String| Err(DeploymentError::Invalid(reason));
        if self.partitions == 0 || self.partitions > PARTITIONS_MAX {
            return invalid(format!(
                "partitions is {}, and must be from 1 to {PARTITIONS_MAX}",
                self.partitions
            ));
        }
        if self.keyed_partitions == 0 || self.keyed_partitions > self.partitions {
            return invalid(format!(
                "keyed_partitions is {}, and must be from 1 to partitions ({})",
                self.keyed_partitions, self.partitions
            ));
        }
        if self.replicas == 0 || self.replicas > REPLICAS_MAX {
            return invalid(format!("replicas is {}, and must be from 1 to {REPLICAS_MAX}", self.replicas));
        }
        if self.ack_wait < ACK_WAIT_MIN {
            return invalid(format!(
                "ack_wait is {:?}, and must be at least {ACK_WAIT_MIN:?}",
                self.ack_wait
            ));
        }
        Ok(())
    }

    /// Writes the record over the one that stands. Others may do so at the same time: what they wrote is weighed as it was before.
    async fn record(
        &self,
        broker: &Arc<dyn Broker>,
        clock: &dyn Clock,
        names: &Names,
        mut standing: Option<Standing>,
    ) -> Result<(), DeploymentError> {
        let value: Bytes = wire::encode(self).map_err(|error| DeploymentError::Invalid(error.to_string()))?;
        let subject = names.bucket_key(LEASES, DEPLOYMENT_KEY);
        let mut unheard = 0;
        let mut backoff = Backoff::new();
        loop {
            let expected = standing.as_ref().map_or(0, |standing| standing.revision);
            if standing.is_some_and(|standing| standing.deployment == *self) {
                return Ok(());
            }
            let publish = Publish::new(subject.clone(), value.clone()).expecting(Expect::LastSequence(expected));
            let error = match broker.publish(publish).await {
                Ok(_) => return Ok(()),
                Err(error @ (PublishError::Refused | PublishError::Unknown(_))) => error,
                // The node that we are connected to may not have heard yet of the bucket that another one has just made.
                Err(error @ PublishError::NoStream) if unheard < NO_STREAM_TRIES_MAX => {
                    unheard += 1;
                    clock.sleep(backoff.delay()).await;
                    error
                }
                Err(error) => return Err(DeploymentError::Write(error)),
            };
            let found = Self::find(broker, &self.prefix).await?;
            match &found {
                Some(found) if found.revision != expected => drop(found.deployment.changes_to(self)?),
                _ if error == PublishError::NoStream => {}
                _ => return Err(DeploymentError::Write(error)),
            }
            standing = found;
        }
    }
}
