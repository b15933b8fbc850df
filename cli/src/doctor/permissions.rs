//! What these credentials may do, found by publishes that the server cannot store: each expects a sequence that never was.
//!
//! A server that takes the publish refuses the condition; one that forbids it does not answer.

use std::sync::Arc;

use everstep::RunId;
use everstep_common::ids::Partition;
use everstep_common::journal::{EntryKey, InboundId};
use everstep_common::key::StepKey;
use everstep_common::ports::{Broker, Expect, Publish, PublishError};
use everstep_common::store::{DEPLOYMENT_KEY, Deployment, LEASES};
use everstep_common::subject::{Names, TimerSort};
use futures::future::join_all;
use uuid::Uuid;

use super::report::{Check, Verdict};

/// No stream of ours comes this far.
const NEVER: u64 = u64::MAX / 2;

/// What a role needs, by one subject of it.
struct Probe {
    may: &'static str,
    subject: String,
}

/// One finding: what is allowed and what is not.
pub(super) async fn check(broker: &Arc<dyn Broker>, deployment: &Deployment) -> Option<Check> {
    let probes = probes(&Names::new(deployment.prefix.clone()));
    let answers = join_all(probes.iter().map(|probe| ask(broker, probe))).await;
    let (mut may, mut may_not, mut untold) = (Vec::new(), Vec::new(), Vec::new());
    for (probe, answer) in probes.iter().zip(answers) {
        match answer {
            Answer::Allowed => may.push(probe.may),
            Answer::Forbidden => may_not.push(probe.may),
            // The check of streams says what is wrong.
            Answer::Untold => untold.push(probe.may),
        }
    }
    if may.is_empty() && may_not.is_empty() {
        return None;
    }
    let mut found = format!("may {}", listed(&may));
    if !may_not.is_empty() {
        found.push_str(&format!("; may not {}", listed(&may_not)));
    }
    Some(if may_not.is_empty() {
        Check::ok("permissions", found)
    } else {
        Check::new("permissions", Verdict::Warning, found)
            .mend("fine if these are one role's credentials; `everstep provision --print` lists what each role needs")
    })
}

fn listed(what: &[&str]) -> String {
    match what {
        [] => "nothing".to_owned(),
        what => what.join(", "),
    }
}

fn probes(names: &Names) -> Vec<Probe> {
    let nobody = RunId::unkeyed(Partition(0), Uuid::nil());
    let key = StepKey::from_path("probe");
    let entry = |key| names.entry(&nobody, &key);
    let probe = |may, subject| Probe { may, subject };
    let id = InboundId::new("probe").expect("one token");
    vec![
        probe("start runs", entry(EntryKey::Start)),
        probe("cancel and resume runs", entry(EntryKey::In(id))),
        probe("record outcomes of steps", entry(EntryKey::Step(key.clone()))),
        probe("end runs", entry(EntryKey::End)),
        probe("hold leases", names.bucket_key(LEASES, DEPLOYMENT_KEY)),
        probe("schedule timers", names.timer(&nobody, TimerSort::Sleep, &key)),
    ]
}

enum Answer {
    Allowed,
    Forbidden,
    Untold,
}

async fn ask(broker: &Arc<dyn Broker>, probe: &Probe) -> Answer {
    let publish = Publish::new(probe.subject.clone(), "").expecting(Expect::LastSequence(NEVER));
    match broker.publish(publish).await {
        Err(PublishError::Refused) => Answer::Allowed,
        Err(PublishError::Unknown(_) | PublishError::Rejected(_)) => Answer::Forbidden,
        Ok(_) | Err(_) => Answer::Untold,
    }
}
