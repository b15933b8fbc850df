//! Canonical JSON after RFC 8785 (JCS), so that the same payload has the same SHA-256 wherever it is computed.
//!
//! RFC 8785 writes every number as a double. An integer that a double cannot hold exactly would be written as another one, and two payloads
//! that differ would have one hash; so such numbers are refused here, as I-JSON (RFC 7493) asks, and belong into a text.

use everstep_common::question::PayloadHash;
use serde_json::Value;

/// The largest integer up to which every integer is a double of its own.
const INTEGER_MAX: u64 = (1 << 53) - 1;

/// Why a payload has no canonical form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCanonical {
    /// A number that JSON readers do not agree on.
    #[error("the integer {0} is beyond 2^53, where JSON readers do not agree on it; write it as a text")]
    Integer(String),
    /// Something else.
    #[error("the payload cannot be written as canonical JSON: {0}")]
    Other(String),
}

/// The canonical JSON text of a value.
pub fn canonical(value: &Value) -> Result<String, NotCanonical> {
    refuse_inexact(value)?;
    serde_json_canonicalizer::to_string(value).map_err(|error| NotCanonical::Other(error.to_string()))
}

/// The hash that an approval of this value is bound to.
pub fn payload_hash(value: &Value) -> Result<PayloadHash, NotCanonical> {
    canonical(value).map(|text| PayloadHash::of_canonical(text.as_bytes()))
}

fn refuse_inexact(value: &Value) -> Result<(), NotCanonical> {
    match value {
        Value::Array(items) => items.iter().try_for_each(refuse_inexact),
        Value::Object(fields) => fields.values().try_for_each(refuse_inexact),
        Value::Number(number) => {
            let magnitude = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
            match magnitude {
                Some(magnitude) if magnitude > INTEGER_MAX => Err(NotCanonical::Integer(number.to_string())),
                _ => Ok(()),
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(json: &str, expected: &str) {
        let value: Value = serde_json::from_str(json).unwrap();
        assert_eq!(canonical(&value).unwrap(), expected);
    }

    /// RFC 8785, section 3.2.2 to 3.2.4.
    #[test]
    fn the_rfcs_own_example_is_written_as_there() {
        check(
            r#"{
                "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
                "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
                "literals": [null, true, false]
            }"#,
            r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}"#,
        );
    }

    /// RFC 8785, section 3.2.3: keys are sorted by UTF-16 code units.
    #[test]
    fn keys_are_sorted_as_the_rfc_sorts_them() {
        check(
            r#"{
                "\u20ac": "Euro Sign",
                "\r": "Carriage Return",
                "\ufb33": "Hebrew Letter Dalet With Dagesh",
                "1": "One",
                "\ud83d\ude00": "Emoji: Grinning Face",
                "\u0080": "Control",
                "\u00f6": "Latin Small Letter O With Diaeresis"
            }"#,
            "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\"ö\":\"Latin Small Letter O With Diaeresis\",\
             \"€\":\"Euro Sign\",\"😀\":\"Emoji: Grinning Face\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}",
        );
    }

    /// RFC 8785, appendix B: doubles by their bits, and how they are written.
    #[test]
    fn numbers_are_written_as_in_the_rfcs_table() {
        let table = [
            (0x0000_0000_0000_0000, "0"),
            (0x8000_0000_0000_0000, "0"),
            (0x0000_0000_0000_0001, "5e-324"),
            (0x8000_0000_0000_0001, "-5e-324"),
            (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
            (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
            (0x4340_0000_0000_0000, "9007199254740992"),
            (0xc340_0000_0000_0000, "-9007199254740992"),
            (0x4430_0000_0000_0000, "295147905179352830000"),
            (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
            (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
            (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
            (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
            (0x444b_1ae4_d6e2_ef50, "1e+21"),
            (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
            (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x41b3_de43_5555_5553, "333333333.3333332"),
            (0x41b3_de43_5555_5554, "333333333.33333325"),
            (0x41b3_de43_5555_5555, "333333333.3333333"),
            (0x41b3_de43_5555_5556, "333333333.3333334"),
            (0x41b3_de43_5555_5557, "333333333.33333343"),
            (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
            (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
        ];
        for (bits, expected) in table {
            let number = serde_json::Number::from_f64(f64::from_bits(bits)).unwrap();
            assert_eq!(canonical(&Value::Number(number)).unwrap(), expected, "{bits:#x}");
        }
    }

    #[test]
    fn an_integer_that_readers_do_not_agree_on_is_refused() {
        assert_eq!(canonical(&json!(INTEGER_MAX)).unwrap(), "9007199254740991");
        for number in [json!(INTEGER_MAX + 1), json!(u64::MAX), json!([-9_007_199_254_740_992_i64])] {
            assert!(matches!(canonical(&number), Err(NotCanonical::Integer(_))), "{number}");
        }
    }

    #[test]
    fn the_order_of_fields_does_not_matter_and_everything_else_does() {
        let hash = |value: Value| payload_hash(&value).unwrap();
        let payload = json!({ "to": "ada", "cents": 100 });
        assert_eq!(
            hash(payload.clone()),
            hash(serde_json::from_str(r#"{"cents":1e2,"to":"\u0061da"}"#).unwrap())
        );
        assert_ne!(hash(payload), hash(json!({ "to": "ada", "cents": 101 })));
    }
}
