//! The outside world: counts what functions do to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use everstep::FunctionContext;
use everstep_common::ids::RunId;

/// Counts executions, and keeps under which idempotency keys each effect was asked for.
///
/// It honours the key, as the promise asks of a receiver: an effect happens once for each key that it is asked for with.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<Books>>);

#[derive(Debug, Default)]
struct Books {
    /// Executions begun, by idempotency key and attempt.
    executions: BTreeMap<(String, u32), u32>,
    /// The keys that each effect was asked for with; more than one means that it happened twice.
    effects: BTreeMap<String, BTreeSet<String>>,
}

impl Ledger {
    /// An execution of a function begins.
    pub fn execution(&self, ctx: &FunctionContext) {
        let execution = (ctx.idempotency_key().to_owned(), ctx.attempt());
        *self.lock().executions.entry(execution).or_default() += 1;
    }

    /// An execution asks for an effect, named so that no two steps share it.
    pub fn effect(&self, ctx: &FunctionContext, effect: &str) {
        self.effect_under(ctx.idempotency_key(), effect);
    }

    /// The same for those that know the key alone.
    pub fn effect_under(&self, key: &str, effect: &str) {
        let mut books = self.lock();
        books.effects.entry(effect.to_owned()).or_default().insert(key.to_owned());
    }

    /// The effects and under how many keys each happened.
    pub fn effects(&self) -> BTreeMap<String, usize> {
        let books = self.lock();
        books
            .effects
            .iter()
            .map(|(effect, keys)| (effect.clone(), keys.len()))
            .collect()
    }

    /// The executions of attempts that were begun more than once, and how often.
    pub fn repeated(&self) -> Vec<(String, u32, u32)> {
        let books = self.lock();
        let repeated = books.executions.iter().filter(|(_, times)| **times > 1);
        repeated
            .map(|((key, attempt), times)| (key.clone(), *attempt, *times))
            .collect()
    }

    /// How many executions began under each idempotency key.
    pub fn executions(&self) -> BTreeMap<String, u32> {
        let mut executions = BTreeMap::new();
        for ((key, _), times) in &self.lock().executions {
            *executions.entry(key.clone()).or_default() += times;
        }
        executions
    }

    /// How many executions of a run's steps began.
    pub fn executions_of(&self, run: &RunId) -> u32 {
        let books = self.lock();
        let own = books.executions.iter().filter(|((key, _), _)| key.starts_with(run.as_str()));
        own.map(|(_, times)| times).sum()
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
