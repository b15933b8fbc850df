//! Filters: which events start a run, as an expression over their body.
//!
//! ```text
//! any        = all { ("||" | "or") all }
//! all        = not { ("&&" | "and") not }
//! not        = ["!" | "not"] ( "(" any ")" | comparison )
//! comparison = path [ ("==" | "!=" | "<" | "<=" | ">" | ">=") literal ]
//! literal    = number | "text" | 'text' | true | false | null
//! ```
//!
//! A path alone holds if something stands there that is neither `null` nor `false`. What is absent equals nothing but `null`, and what
//! cannot be ordered is neither smaller nor greater. So a filter never fails on an event: it holds or it does not.

use std::cmp::Ordering;

use serde_json::Value;

use super::path::{Path, is_word};
use crate::event::Event;
use crate::limits::{FILTER_CHARS_MAX, FILTER_DEPTH_MAX};

/// A filter that has been read.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter(Node);

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Any(Vec<Node>),
    All(Vec<Node>),
    Not(Box<Node>),
    Holds(Path),
    Compare(Path, Operator, Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Filter {
    /// Reads a filter; what is wrong with it otherwise.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.chars().count() > FILTER_CHARS_MAX {
            return Err(format!("a filter has at most {FILTER_CHARS_MAX} characters"));
        }
        let mut parser = Parser { rest: text, depth: 0 };
        let node = parser.any()?;
        match parser.rest.trim_start() {
            "" => Ok(Self(node)),
            rest => Err(unexpected(rest)),
        }
    }

    /// Whether the event passes.
    pub fn holds(&self, event: &Event) -> bool {
        self.0.holds(event)
    }
}

impl Node {
    fn holds(&self, event: &Event) -> bool {
        match self {
            Self::Any(nodes) => nodes.iter().any(|node| node.holds(event)),
            Self::All(nodes) => nodes.iter().all(|node| node.holds(event)),
            Self::Not(node) => !node.holds(event),
            Self::Holds(path) => path
                .of(event)
                .is_some_and(|value| !matches!(value, Value::Null | Value::Bool(false))),
            Self::Compare(path, operator, literal) => operator.holds(&path.of(event).unwrap_or(Value::Null), literal),
        }
    }
}

impl Operator {
    const ALL: [(&'static str, Self); 6] = [
        ("==", Self::Equal),
        ("!=", Self::NotEqual),
        ("<=", Self::LessOrEqual),
        (">=", Self::GreaterOrEqual),
        ("<", Self::Less),
        (">", Self::Greater),
    ];

    fn holds(self, found: &Value, literal: &Value) -> bool {
        let order = ordered(found, literal);
        match self {
            Self::Equal => order == Some(Ordering::Equal),
            Self::NotEqual => order != Some(Ordering::Equal),
            Self::Less => order == Some(Ordering::Less),
            Self::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Self::Greater => order == Some(Ordering::Greater),
            Self::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        }
    }
}

/// How two values of one sort stand to each other; values of different sorts do not.
fn ordered(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => match (one.as_i128(), other.as_i128()) {
            (Some(one), Some(other)) => Some(one.cmp(&other)),
            _ => one.as_f64()?.partial_cmp(&other.as_f64()?),
        },
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        (Value::Bool(one), Value::Bool(other)) => Some(one.cmp(other)),
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        _ => None,
    }
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl Parser<'_> {
    fn any(&mut self) -> Result<Node, String> {
        self.depth += 1;
        if self.depth > FILTER_DEPTH_MAX {
            return Err(format!("a filter is nested at most {FILTER_DEPTH_MAX} deep"));
        }
        let mut nodes = vec![self.all()?];
        while self.sign("||") || self.word("or") {
            nodes.push(self.all()?);
        }
        self.depth -= 1;
        Ok(one_or(nodes, Node::Any))
    }

    fn all(&mut self) -> Result<Node, String> {
        let mut nodes = vec![self.not()?];
        while self.sign("&&") || self.word("and") {
            nodes.push(self.not()?);
        }
        Ok(one_or(nodes, Node::All))
    }

    fn not(&mut self) -> Result<Node, String> {
        let mut negated = false;
        while self.word("not") || (!self.rest.trim_start().starts_with("!=") && self.sign("!")) {
            negated = !negated;
        }
        let node = if self.sign("(") {
            let node = self.any()?;
            if !self.sign(")") {
                return Err("a `(` is not closed".to_owned());
            }
            node
        } else {
            self.comparison()?
        };
        Ok(if negated { Node::Not(Box::new(node)) } else { node })
    }

    fn comparison(&mut self) -> Result<Node, String> {
        let path = self.path()?;
        let operator = Operator::ALL.into_iter().find(|(sign, _)| self.sign(sign));
        match operator {
            Some((_, operator)) => Ok(Node::Compare(path, operator, self.literal()?)),
            None => Ok(Node::Holds(path)),
        }
    }

    fn path(&mut self) -> Result<Path, String> {
        let text = self.rest.trim_start();
        let end = text
            .find(|c| !is_word(c) && !matches!(c, '.' | '[' | ']' | '@'))
            .unwrap_or(text.len());
        let (path, rest) = text.split_at(end);
        if path.is_empty() {
            return Err(unexpected(text));
        }
        self.rest = rest;
        Path::parse(path)
    }

    fn literal(&mut self) -> Result<Value, String> {
        let text = self.rest.trim_start();
        for quote in ['"', '\''] {
            if let Some(after) = text.strip_prefix(quote) {
                let (inside, rest) = after.split_once(quote).ok_or_else(|| format!("a {quote} is not closed"))?;
                self.rest = rest;
                return Ok(Value::String(inside.to_owned()));
            }
        }
        let end = text
            .find(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | '-' | '+')))
            .unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        self.rest = rest;
        match serde_json::from_str(word) {
            Ok(value @ (Value::Number(_) | Value::Bool(_) | Value::Null)) => Ok(value),
            _ => Err(format!(
                "{word:?} is no value; text stands between quotes, as in `country == \"DE\"`"
            )),
        }
    }

    /// Takes a sign, if it comes next.
    fn sign(&mut self, sign: &str) -> bool {
        match self.rest.trim_start().strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Takes a word, if it comes next and ends there.
    fn word(&mut self, word: &str) -> bool {
        match self.rest.trim_start().strip_prefix(word) {
            Some(rest) if !rest.starts_with(|c| is_word(c) || matches!(c, '.' | '[')) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }
}

fn one_or(mut nodes: Vec<Node>, many: fn(Vec<Node>) -> Node) -> Node {
    match nodes.len() {
        1 => nodes.remove(0),
        _ => many(nodes),
    }
}

fn unexpected(rest: &str) -> String {
    match rest.chars().take(20).collect::<String>().as_str() {
        "" => "the filter ends where a path is expected, as in `amount >= 100`".to_owned(),
        text => format!("{text:?} is not expected here; write comparisons such as `amount >= 100 && country == \"DE\"`"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::event;
    use super::*;

    #[test]
    fn a_filter_holds_or_does_not_and_never_fails() {
        let event = event(
            json!({ "amount": 100, "price": 1.5, "country": "DE", "tags": ["new"], "paid": true, "gone": null, "notes": "" }),
        );
        let check = |filter: &str, wanted: bool| assert_eq!(Filter::parse(filter).unwrap().holds(&event), wanted, "{filter}");
        check("amount >= 100", true);
        check("amount > 100", false);
        check("amount == 100.0", true);
        check("price < 2", true);
        check("country == 'DE' and amount<200", true);
        check("country == \"FR\" || tags[0] == \"new\"", true);
        check("!(country == 'DE')", false);
        check("not paid", false);
        check("paid && notes", true);
        check("gone", false);
        check("gone == null", true);
        check("absent == null", true);
        check("absent != 'x'", true);
        check("absent > 1 or absent < 1", false);
        check("country > 1", false);
        check("order_or_not", false);
        check("@.name == 'user.signed_up'", true);
        check("paid == false || paid and amount == 100", true);
    }

    #[test]
    fn what_is_no_filter_is_refused_with_the_place() {
        for (text, wanted) in [
            ("", "ends where"),
            ("amount >", "no value"),
            ("amount >= DE", "between quotes"),
            ("country == \"DE", "not closed"),
            ("(amount > 1", "not closed"),
            ("amount > 1 country", "country"),
            ("amount && ", "ends where"),
            ("= 1", "= 1"),
            (&"(".repeat(40), "nested"),
            (&"a".repeat(2_000), "at most"),
        ] {
            let reason = Filter::parse(text).unwrap_err();
            assert!(reason.contains(wanted), "{text:?}: {reason}");
        }
    }
}
