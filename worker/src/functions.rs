//! Which functions a worker can run.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use everstep_common::flow::Rate;
use everstep_common::ids::FunctionName;
use futures::future::BoxFuture;

use crate::context::FunctionContext;
use crate::step_error::StepError;

/// Runs one attempt of a function: encoded input to encoded output.
pub type Handler = Arc<dyn Fn(FunctionContext, Bytes) -> BoxFuture<'static, Result<Bytes, StepError>> + Send + Sync>;

/// Two functions of one name.
///
/// ```
/// use everstep_common::ids::FunctionName;
/// use everstep_worker::DuplicateFunction;
///
/// let error = DuplicateFunction { name: FunctionName::new("charge").unwrap() };
/// assert!(error.to_string().starts_with("function charge is registered twice"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("function {name:?} is registered twice; tasks name functions, so each name may stand for one only")]
pub struct DuplicateFunction {
    /// The name.
    pub name: FunctionName,
}

/// Functions by name.
#[derive(Clone, Default)]
pub struct Functions {
    handlers: BTreeMap<FunctionName, Handler>,
    rates: BTreeMap<FunctionName, Rate>,
}

impl Functions {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a function.
    pub fn register(&mut self, name: FunctionName, handler: Handler) -> Result<(), DuplicateFunction> {
        match self.handlers.entry(name) {
            Entry::Vacant(vacant) => {
                vacant.insert(handler);
                Ok(())
            }
            Entry::Occupied(occupied) => Err(DuplicateFunction {
                name: occupied.key().clone(),
            }),
        }
    }

    /// A worker begins the function no faster than that, whatever other workers do.
    pub fn pace(&mut self, name: FunctionName, rate: Rate) {
        self.rates.insert(name, rate);
    }

    /// The functions that have a pace.
    pub(crate) fn rates(&self) -> impl Iterator<Item = (&FunctionName, Rate)> {
        self.rates.iter().map(|(name, rate)| (name, *rate))
    }

    /// What runs the function of that name.
    pub fn get(&self, name: &FunctionName) -> Option<&Handler> {
        self.handlers.get(name)
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &FunctionName> {
        self.handlers.keys()
    }
}

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_name_stands_for_one_function() {
        let name = FunctionName::new("charge").unwrap();
        let handler: Handler = Arc::new(|_, input| async move { Ok(input) }.boxed());
        let mut functions = Functions::new();
        functions.register(name.clone(), handler.clone()).unwrap();
        assert_eq!(functions.register(name.clone(), handler), Err(DuplicateFunction { name }));
    }
}
