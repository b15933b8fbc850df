//! The canonical JSON of what the journal holds as MessagePack.
//!
//! What an approval is of and what a step is given take the same way to it, so that they have the same hash if and only if they are the same.

use std::collections::HashSet;

use everstep_common::limits::VALUE_DEPTH_MAX;
use everstep_forms::canonical;
use rmpv::Value;
use serde_json::{Map, Number, Value as Json};

use crate::error::WorkflowError;

/// The canonical JSON (RFC 8785) of an encoded value. What JSON cannot express exactly is refused.
pub(super) fn canonical_text(bytes: &[u8]) -> Result<String, WorkflowError> {
    let refused = |why: String| WorkflowError::invalid(format!("what is to be approved: {why}"));
    // Each value may cost the decoder two levels, as in `wire`.
    let value = rmpv::decode::read_value_with_max_depth(&mut &bytes[..], 2 * VALUE_DEPTH_MAX);
    let value = value.map_err(|error| refused(error.to_string()))?;
    let json = exact_json(value).map_err(refused)?;
    canonical(&json).map_err(|error| refused(error.to_string()))
}

fn exact_json(value: Value) -> Result<Json, String> {
    Ok(match value {
        Value::Nil => Json::Null,
        Value::Boolean(value) => value.into(),
        Value::Integer(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => number.into(),
            (_, Some(number)) => number.into(),
            _ => return Err(format!("{number} is no number of JSON")),
        },
        Value::F32(number) => float(f64::from(number))?,
        Value::F64(number) => float(number)?,
        Value::String(text) => text.into_str().ok_or("a text is not UTF-8")?.into(),
        Value::Binary(bytes) => bytes.into(),
        Value::Array(items) => items.into_iter().map(exact_json).collect::<Result<Vec<_>, _>>()?.into(),
        Value::Map(fields) => object(fields)?.into(),
        Value::Ext(..) => return Err("a MessagePack extension is nothing in JSON".to_owned()),
    })
}

fn float(number: f64) -> Result<Json, String> {
    let number = Number::from_f64(number).ok_or_else(|| format!("{number} is no number of JSON"))?;
    Ok(Json::Number(number))
}

fn object(fields: Vec<(Value, Value)>) -> Result<Map<String, Json>, String> {
    let mut seen = HashSet::new();
    let mut object = Map::new();
    for (key, value) in fields {
        let Value::String(key) = key else {
            return Err(format!("the key {key} of a map is no text"));
        };
        let key = key.into_str().ok_or("a key is not UTF-8")?;
        if !seen.insert(key.clone()) {
            return Err(format!("the key {key:?} of a map stands there twice"));
        }
        object.insert(key, exact_json(value)?);
    }
    Ok(object)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use everstep_common::wire::encode_value;
    use serde_json::json;

    use super::*;

    fn check(value: impl serde::Serialize, expected: Option<&str>) {
        let text = canonical_text(&encode_value(&value).unwrap());
        assert_eq!(text.as_deref().ok(), expected, "{text:?}");
    }

    #[test]
    fn values_have_one_text_and_what_json_cannot_say_exactly_has_none() {
        check(("b", 1_u8, 1.0_f64, Option::<u8>::None), Some(r#"["b",1,1,null]"#));
        check(json!({ "b": [true], "a": -0.5 }), Some(r#"{"a":-0.5,"b":[true]}"#));
        check(f64::NAN, None);
        check(u64::MAX, None);
        check(BTreeMap::from([(1, 2)]), None);
        let twice = Value::Map(vec![("a".into(), 1.into()), ("a".into(), 2.into())]);
        check(twice, None);
    }
}
