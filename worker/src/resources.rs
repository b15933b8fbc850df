//! Shared things that functions use: a payment client, a connection pool. Found by type.

use std::any::{Any, TypeId, type_name};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::Arc;

/// Two resources of one type.
///
/// ```
/// use everstep_worker::Resources;
///
/// let mut resources = Resources::new();
/// resources.insert(7_u32).unwrap();
/// assert_eq!(resources.insert(8_u32).unwrap_err().name, "u32");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "two resources of type `{name}` are registered; functions ask for a resource by its type, so each type may be there once only: \
     wrap one of them in a type of its own"
)]
pub struct DuplicateResource {
    /// The type, as the compiler names it.
    pub name: &'static str,
}

/// Values by type, shared by all functions of a process.
#[derive(Clone, Default)]
pub struct Resources {
    values: BTreeMap<TypeId, Resource>,
}

#[derive(Clone)]
struct Resource {
    name: &'static str,
    value: Arc<dyn Any + Send + Sync>,
}

impl Resources {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value. If there is one of its type already, that one stays.
    ///
    /// ```
    /// use everstep_worker::Resources;
    ///
    /// let mut resources = Resources::new();
    /// assert!(resources.insert(7_u32).is_ok());
    /// assert!(resources.insert(8_u32).is_err());
    /// assert_eq!(resources.get::<u32>().as_deref(), Some(&7));
    /// ```
    pub fn insert<T: Send + Sync + 'static>(&mut self, value: T) -> Result<(), DuplicateResource> {
        let name = type_name::<T>();
        match self.values.entry(TypeId::of::<T>()) {
            Entry::Vacant(vacant) => {
                vacant.insert(Resource {
                    name,
                    value: Arc::new(value),
                });
                Ok(())
            }
            Entry::Occupied(_) => Err(DuplicateResource { name }),
        }
    }

    /// The value of that type.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let resource = self.values.get(&TypeId::of::<T>())?;
        resource.value.clone().downcast().ok()
    }

    /// The value of that type.
    ///
    /// # Panics
    ///
    /// If there is none; the message names the type and what there is.
    pub(crate) fn expect<T: Send + Sync + 'static>(&self) -> Arc<T> {
        self.get().unwrap_or_else(|| {
            panic!(
                "no resource of type `{}` is registered; add it with `App::resource` (registered: {self:?})",
                type_name::<T>()
            )
        })
    }
}

impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<_> = self.values.values().map(|resource| resource.name).collect();
        names.sort_unstable();
        f.debug_list().entries(names).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn values_are_found_by_type() {
        let mut resources = Resources::new();
        resources.insert(7_u32).unwrap();
        resources.insert("text".to_owned()).unwrap();
        assert_eq!(resources.get::<u32>().as_deref(), Some(&7));
        assert_eq!(resources.get::<String>().as_deref().map(String::as_str), Some("text"));
        assert_eq!(resources.get::<u8>(), None);
    }

    #[test]
    fn a_second_one_of_a_type_is_refused_and_the_first_stays() {
        let mut resources = Resources::new();
        resources.insert(7_u32).unwrap();
        assert_eq!(resources.insert(8_u32), Err(DuplicateResource { name: "u32" }));
        assert_eq!(resources.get::<u32>().as_deref(), Some(&7));
    }

    #[test]
    fn a_missing_one_is_named_with_what_there_is() {
        let mut resources = Resources::new();
        resources.insert(7_u32).unwrap();
        let panic = catch_unwind(AssertUnwindSafe(|| resources.expect::<u8>())).unwrap_err();
        let message = panic.downcast_ref::<String>().unwrap();
        assert!(message.contains("`u8`") && message.contains("[\"u32\"]"), "{message}");
    }
}
