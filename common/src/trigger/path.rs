//! Paths into the body of an event: `data.object`, `items[0].id`; `@` stands for the event itself: `@.id`, `@.name`.

use std::fmt;

use serde_json::Value;

use crate::event::Event;

/// One path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// It begins at the event, not at its body.
    of_event: bool,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

impl Path {
    /// Reads a path; what is wrong with it otherwise.
    pub fn parse(text: &str) -> Result<Self, String> {
        let invalid =
            || format!("{text:?} is no path into an event; write words with dots, such as \"data.object\" or \"items[0].id\"");
        let text_after = text.trim();
        let (of_event, mut rest) = match text_after.strip_prefix('@') {
            Some(rest) => (true, rest.strip_prefix('.').unwrap_or(rest)),
            None => (false, text_after),
        };
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('[') {
                let (number, after) = after.split_once(']').ok_or_else(invalid)?;
                steps.push(Step::Index(number.trim().parse().map_err(|_| invalid())?));
                rest = after;
            } else {
                let end = rest.find(['.', '[']).unwrap_or(rest.len());
                let (word, after) = rest.split_at(end);
                if word.is_empty() || !word.chars().all(is_word) {
                    return Err(invalid());
                }
                steps.push(Step::Key(word.to_owned()));
                rest = after;
            }
            if let Some(after) = rest.strip_prefix('.') {
                if after.is_empty() {
                    return Err(invalid());
                }
                rest = after;
            }
        }
        if steps.is_empty() && !of_event {
            return Err(invalid());
        }
        Ok(Self { of_event, steps })
    }

    /// What stands there, if anything.
    pub fn of(&self, event: &Event) -> Option<Value> {
        let whole = self.of_event.then(|| event.envelope());
        let mut at = whole.as_ref().unwrap_or(&event.data);
        for step in &self.steps {
            at = match step {
                Step::Key(key) => at.get(key)?,
                Step::Index(index) => at.get(index)?,
            };
        }
        Some(at.clone())
    }
}

/// What a word of a path is made of.
pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '$')
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.of_event { "@" } else { "" })?;
        for (number, step) in self.steps.iter().enumerate() {
            match step {
                Step::Key(key) if number > 0 || self.of_event => write!(f, ".{key}")?,
                Step::Key(key) => f.write_str(key)?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::event;
    use super::*;

    #[test]
    fn a_path_leads_to_what_stands_there_or_to_nothing() {
        let event = event(json!({ "data": { "items": [{ "id": 7 }] }, "null": null }));
        let check = |path: &str, wanted: Option<Value>| assert_eq!(Path::parse(path).unwrap().of(&event), wanted, "{path}");
        check("data.items[0].id", Some(json!(7)));
        check("data.items[1].id", None);
        check("data.items.id", None);
        check("null", Some(Value::Null));
        check("@.name", Some(json!("user.signed_up")));
        check("@.data.data.items[0].id", Some(json!(7)));
        assert!(
            Path::parse("@")
                .unwrap()
                .of(&event)
                .is_some_and(|whole| whole.get("data").is_some())
        );
    }

    #[test]
    fn what_is_no_path_is_refused_with_an_example() {
        for text in ["", " ", ".", "a.", ".a", "a..b", "a[x]", "a[0", "a b", "a[-1]"] {
            let reason = Path::parse(text).unwrap_err();
            assert!(reason.contains("data.object"), "{text:?}: {reason}");
        }
        assert_eq!(Path::parse("a[0].b").unwrap().to_string(), "a[0].b");
    }
}
