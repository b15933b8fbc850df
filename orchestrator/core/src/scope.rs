//! Scopes: the paths in step keys, and the numbers that tell equal names apart.
//!
//! A scope is dynamic: while a [`crate::Scoped`] future is polled it is the run's current one, so helpers and captured contexts are
//! right whatever they were made with. What is made outside keeps the scope it was made in. Which scope is current is in
//! [`crate::within`].

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use everstep_common::failure::{Failure, FailureKind};
use everstep_common::key::{EVENT_PREFIX, SIGNAL_PREFIX, StepKey, UPDATE_PREFIX};
use everstep_common::limits::NAME_CHARS_MAX;

/// What the keys of events that are emitted begin with, so that one of them takes no number from a step of its name.
pub(crate) const EMIT_PREFIX: &str = "emit:";

/// One scope of a run: its path, and what has been used of it.
pub(crate) struct Scope {
    path: Box<str>,
    used: RefCell<HashMap<Box<str>, u32>>,
    drawn: Cell<u64>,
}

impl Scope {
    /// The scope of the workflow itself.
    pub(crate) fn root() -> Rc<Self> {
        Self::at(String::new())
    }

    /// A scope inside this one. Takes the next number of `name`.
    pub(crate) fn child(&self, name: &str) -> Rc<Self> {
        let number = self.take_number(name);
        Self::at(self.path_of(name, number))
    }

    /// A scope inside this one under a label that nothing else here is called by, and that takes no number.
    pub(crate) fn branch(&self, label: &str) -> Rc<Self> {
        Self::at(self.path_of(label, 1))
    }

    fn at(path: String) -> Rc<Self> {
        Rc::new(Self {
            path: path.into(),
            used: RefCell::default(),
            drawn: Cell::new(0),
        })
    }

    /// Where the scope is; empty at the root.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Which draw of random numbers in this scope is next.
    pub(crate) fn draw(&self) -> u64 {
        self.drawn.replace(self.drawn.get() + 1)
    }

    fn take_number(&self, name: &str) -> u32 {
        let mut used = self.used.borrow_mut();
        if let Some(number) = used.get_mut(name) {
            *number += 1;
            return *number;
        }
        used.insert(name.into(), 1);
        1
    }

    fn path_of(&self, name: &str, number: u32) -> String {
        let mut path = String::with_capacity(self.path.len() + name.len() + 8);
        if !self.path.is_empty() {
            path.push_str(&self.path);
            path.push('/');
        }
        path.push_str(name);
        if number > 1 {
            path.push('~');
            path.push_str(&number.to_string());
        }
        path
    }
}

/// What a key will be made of once the future that holds it is polled. Its number is taken when it is made.
pub(crate) enum KeySeed {
    /// A name in a scope, and its number there.
    Numbered { scope: Rc<Scope>, name: Box<str>, number: u32 },
    /// A key that the workflow chose, as it is.
    Explicit(Box<str>),
}

impl KeySeed {
    /// The next key of that name in the scope.
    pub(crate) fn take(scope: Rc<Scope>, name: &str) -> Self {
        let number = scope.take_number(name);
        Self::Numbered {
            scope,
            name: name.into(),
            number,
        }
    }

    /// The next key of another name in the same scope; the number taken before stays used.
    pub(crate) fn rename(&mut self, name: &str) {
        if let Self::Numbered { scope, .. } = self {
            *self = Self::take(scope.clone(), name);
        }
    }

    /// The key itself, or why there can be none.
    pub(crate) fn key(&self) -> Result<StepKey, Failure> {
        match self {
            Self::Numbered { scope, name, number } => {
                check_name(name)?;
                Ok(StepKey::from_path(&scope.path_of(name, *number)))
            }
            Self::Explicit(path) if path.is_empty() => Err(Failure::new(FailureKind::Invalid, "the key is empty")),
            Self::Explicit(path) => Ok(StepKey::from_path(path)),
        }
    }
}

fn check_name(name: &str) -> Result<(), Failure> {
    let prefixes = [SIGNAL_PREFIX, UPDATE_PREFIX, EVENT_PREFIX, EMIT_PREFIX];
    let own = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    let characters = own.chars().count();
    if characters == 0 || characters > NAME_CHARS_MAX {
        let message = format!(
            "the name of a step, timer, closure, signal, update or question has 1 to {NAME_CHARS_MAX} characters, and this one has {characters}"
        );
        return Err(Failure::new(FailureKind::Invalid, message));
    }
    Ok(())
}
