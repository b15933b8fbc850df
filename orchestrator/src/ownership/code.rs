//! Which workflow code a process has, as the others are told, and what a partition lacks.

use std::collections::{BTreeMap, BTreeSet};

use everstep_common::ids::WorkflowName;
use serde::{Deserialize, Serialize};

use crate::workflows::Workflows;

/// Versions that a member tells the others of: its record is written a few times a second, so it must stay small. What is beyond is not
/// offered to it.
const TOLD_MAX: usize = 256;

/// Workflows by name and version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Code(BTreeMap<WorkflowName, BTreeSet<u32>>);

/// Code that a run waits for; without a version any will do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Needed {
    /// The workflow.
    pub workflow: WorkflowName,
    /// The version that the run is pinned to.
    pub version: Option<u32>,
}

impl Code {
    /// The code of an orchestrator.
    pub fn of(workflows: &Workflows) -> Self {
        let list = workflows.list();
        Self(
            list.map(|(name, versions)| (name.clone(), versions.into_iter().collect()))
                .collect(),
        )
    }

    /// As much of it as a member tells.
    pub(super) fn told(&self) -> Self {
        let all = self
            .0
            .iter()
            .flat_map(|(name, versions)| versions.iter().map(|version| (name.clone(), *version)));
        all.take(TOLD_MAX).collect()
    }

    /// Whether there is none, or none was told.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a run that waits for this can go on.
    pub(super) fn has(&self, needed: &Needed) -> bool {
        let versions = self.0.get(&needed.workflow);
        versions.is_some_and(|versions| needed.version.is_none_or(|version| versions.contains(&version)))
    }

    /// Whether everything that `other` can drive can be driven with this too.
    pub(super) fn includes(&self, other: &Self) -> bool {
        other
            .0
            .iter()
            .all(|(name, versions)| self.0.get(name).is_some_and(|ours| ours.is_superset(versions)))
    }
}

impl FromIterator<(WorkflowName, u32)> for Code {
    fn from_iter<List: IntoIterator<Item = (WorkflowName, u32)>>(list: List) -> Self {
        let mut code = Self::default();
        for (name, version) in list {
            code.0.entry(name).or_default().insert(version);
        }
        code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(list: &[(&str, u32)]) -> Code {
        list.iter()
            .map(|(name, version)| (WorkflowName::new(*name).unwrap(), *version))
            .collect()
    }

    fn needed(workflow: &str, version: Option<u32>) -> Needed {
        let workflow = WorkflowName::new(workflow).unwrap();
        Needed { workflow, version }
    }

    #[test]
    fn a_pinned_run_needs_its_version_and_another_one_any() {
        let code = code(&[("order", 1), ("order", 3)]);
        assert!(code.has(&needed("order", None)));
        assert!(code.has(&needed("order", Some(3))));
        assert!(!code.has(&needed("order", Some(2))));
        assert!(!code.has(&needed("refund", None)));
    }

    #[test]
    fn only_code_that_lacks_nothing_includes_the_other() {
        let (old, new) = (code(&[("order", 1)]), code(&[("order", 2)]));
        let both = code(&[("order", 1), ("order", 2)]);
        assert!(both.includes(&old) && both.includes(&new) && both.includes(&both));
        assert!(!old.includes(&new) && !old.includes(&both));
    }

    #[test]
    fn what_is_told_is_bounded() {
        let many: Vec<_> = (0..1_000).map(|version| ("order", version)).collect();
        let many = code(&many);
        assert!(many.includes(&many.told()));
        assert_eq!(many.told().0.values().map(BTreeSet::len).sum::<usize>(), TOLD_MAX);
    }
}
