//! What a run keeps in its state and shows of itself. Recomputed by replay: nothing of it is ever written.
//!
//! It is plain data of the workflow's own. Nothing waits for it, so nothing is asked for, recorded or cancelled; it is visible as of the
//! newest entry that was applied.

use std::collections::BTreeMap;

use bytes::Bytes;
use everstep_common::limits::{STATE_BYTES_MAX, VIEW_BYTES_MAX};
use everstep_common::view::RunView;

/// There is no room for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} of {bytes} bytes is over the limit of {limit}; keep what is large in a step's result, or in a store of your own")]
pub struct Full {
    what: &'static str,
    bytes: usize,
    limit: usize,
}

/// State and view of a run.
#[derive(Debug, Default)]
pub(crate) struct Board {
    values: BTreeMap<String, Bytes>,
    /// Names and values together.
    bytes: usize,
    view: Option<Bytes>,
}

impl Board {
    pub(crate) fn get(&self, key: &str) -> Option<Bytes> {
        self.values.get(key).cloned()
    }

    pub(crate) fn set(&mut self, key: &str, value: Option<Bytes>) -> Result<Option<Bytes>, Full> {
        let size = |value: &Option<Bytes>| value.as_ref().map_or(0, |value| key.len() + value.len());
        let before = self.get(key);
        let bytes = self.bytes - size(&before) + size(&value);
        check("a state", bytes, STATE_BYTES_MAX)?;
        self.bytes = bytes;
        match value {
            Some(value) => self.values.insert(key.to_owned(), value),
            None => self.values.remove(key),
        };
        Ok(before)
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.values.keys().cloned().collect()
    }

    pub(crate) fn publish(&mut self, view: Bytes) -> Result<(), Full> {
        check("a view", view.len(), VIEW_BYTES_MAX)?;
        self.view = Some(view);
        Ok(())
    }

    /// All of it, as of an entry.
    pub(crate) fn view(&self, sequence: u64) -> RunView {
        RunView {
            sequence,
            view: self.view.clone(),
            state: self.values.clone(),
            at_gates: Vec::new(),
        }
    }
}

fn check(what: &'static str, bytes: usize, limit: usize) -> Result<(), Full> {
    if bytes > limit {
        return Err(Full { what, bytes, limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_were_replaced_or_deleted_take_no_room() {
        let mut board = Board::default();
        let large = |fill: u8| Some(Bytes::from(vec![fill; STATE_BYTES_MAX - 1]));
        for fill in 0..3 {
            board.set("k", large(fill)).unwrap();
        }
        assert!(board.set("l", large(9)).is_err(), "two of them are too many");
        assert_eq!(board.keys(), ["k"], "what is refused changes nothing");
        assert_eq!(board.set("k", None).unwrap(), large(2));
        assert_eq!(board.set("k", None).unwrap(), None);
        board.set("l", large(9)).unwrap();
        assert_eq!(board.view(7).state.len(), 1);
    }

    #[test]
    fn a_view_too_large_leaves_the_one_before() {
        let mut board = Board::default();
        board.publish(Bytes::from_static(b"one")).unwrap();
        assert!(board.publish(Bytes::from(vec![0; VIEW_BYTES_MAX + 1])).is_err());
        assert_eq!(board.view(1).view, Some(Bytes::from_static(b"one")));
    }
}
