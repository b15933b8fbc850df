//! The code that an orchestrator has: workflows by name and version.

use std::collections::BTreeMap;

use everstep_common::ids::WorkflowName;
use everstep_core::Definition;

/// Workflows by name and version.
#[derive(Clone, Debug, Default)]
pub struct Workflows {
    by_name: BTreeMap<WorkflowName, BTreeMap<u32, Definition>>,
}

/// The same name and version twice.
///
/// ```
/// use everstep_orchestrator::RegisteredTwice;
///
/// /// What whoever starts the program reads.
/// fn advice(error: &RegisteredTwice) -> String {
///     format!("{error}: give one of them another `version`")
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("workflow {name} version {version} is registered twice")]
pub struct RegisteredTwice {
    name: WorkflowName,
    version: u32,
}

impl Workflows {
    /// No workflows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn register(&mut self, definition: Definition) -> Result<(), RegisteredTwice> {
        let (name, version) = (definition.name.clone(), definition.version);
        let versions = self.by_name.entry(name.clone()).or_default();
        match versions.insert(version, definition) {
            None => Ok(()),
            Some(_) => Err(RegisteredTwice { name, version }),
        }
    }

    /// The code of a version; without one, the newest.
    pub fn find(&self, name: &WorkflowName, version: Option<u32>) -> Option<&Definition> {
        let versions = self.by_name.get(name)?;
        match version {
            Some(version) => versions.get(&version),
            None => versions.values().next_back(),
        }
    }

    /// The versions of a workflow, in order.
    pub(crate) fn versions(&self, name: &WorkflowName) -> Vec<u32> {
        self.by_name
            .get(name)
            .into_iter()
            .flat_map(|versions| versions.keys().copied())
            .collect()
    }

    /// Each name with its versions.
    pub fn list(&self) -> impl Iterator<Item = (&WorkflowName, Vec<u32>)> {
        self.by_name
            .iter()
            .map(|(name, versions)| (name, versions.keys().copied().collect()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}
