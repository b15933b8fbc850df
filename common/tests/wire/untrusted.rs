//! Bytes and subjects that anybody may have written: whatever they are, reading them ends in a value or an error, never in a panic.
//!
//! 1. Decoding any bytes, and any distortion of real ones, returns.
//! 2. What parses as an entry's key prints as the text it was parsed from: no two subjects name one entry.
//! 3. Any step path stands in every subject made of it, and is read back.

use crate::samples::samples;
use everstep_common::digest::InputDigest;
use everstep_common::ids::{FunctionName, Prefix, QueueName, RunId};
use everstep_common::journal::EntryKey;
use everstep_common::key::{StepKey, escape, unescape};
use everstep_common::limits::KEY_TOKEN_BYTES_MAX;
use everstep_common::subject::{Names, TimerSort};
use everstep_common::wire;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use uuid::Uuid;

const RUN: &str = "3-0123456789abcdef0123456789abcdef";

/// Everything that reads bytes.
fn decode_as_everything(bytes: &[u8]) {
    for sample in samples() {
        let _ = (sample.decode)(bytes);
    }
    let _ = wire::decode_value::<serde_json::Value>(bytes);
    let _ = wire::decode_value::<String>(bytes);
    InputDigest::of(bytes);
}

/// Text that looks like a subject of ours, or nearly.
fn subjects() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        Just("start".to_owned()),
        Just("$KV".to_owned()),
        Just("checkpoints_3".to_owned()),
        Just("task".to_owned()),
        Just("fired".to_owned()),
        Just("default".to_owned()),
        Just("retry".to_owned()),
        Just(RUN.to_owned()),
        "(step|try|begun|local|timer|in|end|gone)",
        "[+]?0{0,2}[0-9]{1,3}",
        "[a-z=A-F0-9~/]{0,6}",
        "\\PC{0,4}",
    ];
    let numbered = "(try|begun)\\.[a-c]{1,2}\\.[+]?0{0,2}[0-9]{1,3}(\\.0{0,1}[0-9]{1,2})?";
    prop_oneof![vec(token, 0..8).prop_map(|tokens| tokens.join(".")), numbered]
}

/// `EVERSTEP_SEED` plays one seed again; it is printed with a failure.
fn config() -> ProptestConfig {
    let given = std::env::var("EVERSTEP_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| Uuid::new_v4().as_u64_pair().0);
    println!("EVERSTEP_SEED={seed}");
    ProptestConfig {
        cases: 512,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_bytes_decode_or_are_an_error(bytes in vec(any::<u8>(), 0..200)) {
        decode_as_everything(&bytes);
        let mut versioned = vec![1];
        versioned.extend(bytes);
        decode_as_everything(&versioned);
    }

    #[test]
    fn distorted_values_decode_or_are_an_error(
        choice in any::<prop::sample::Index>(),
        places in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let all = samples();
        let sample = choice.get(&all);
        let mut bytes = sample.bytes.to_vec();
        for (place, byte) in places {
            *place.get_mut(&mut bytes) = byte;
        }
        let _ = (sample.decode)(&bytes);
        let _ = (sample.decode)(&bytes[..cut.index(bytes.len())]);
        InputDigest::of(&bytes[1..]);
    }

    #[test]
    fn a_key_that_parses_is_the_only_text_of_its_entry(text in subjects()) {
        if let Ok(key) = text.parse::<EntryKey>() {
            prop_assert_eq!(key.to_string(), text.clone());
        }
        for prefix in ["", "shop"] {
            let names = Names::new(Prefix::new(prefix).unwrap());
            for subject in [text.clone(), format!("$KV.checkpoints_3.{RUN}.{text}"), format!("$KV.shop_checkpoints_3.{RUN}.{text}")] {
                if let Some((run, key)) = names.parse_entry(&subject) {
                    prop_assert_eq!(names.entry(&run, &key), subject.clone());
                }
            }
        }
    }

    #[test]
    fn any_text_parses_or_is_refused(text in subjects()) {
        let names = Names::new(Prefix::none());
        for subject in [text.clone(), format!("task.default.{text}"), format!("fired.3.{RUN}.{text}"), format!("task.default.f.{RUN}.{text}")] {
            let _ = names.parse_task(&subject);
            let _ = names.parse_wake_up(&subject);
        }
        let _ = text.parse::<RunId>();
        let _ = unescape(&text);
        let _ = StepKey::from_token(&text);
    }

    #[test]
    fn any_path_is_one_token_and_reads_back(path in "\\PC{0,300}") {
        let key = StepKey::from_path(&path);
        prop_assert!(key.token().len() <= KEY_TOKEN_BYTES_MAX);
        if escape(&path).len() <= KEY_TOKEN_BYTES_MAX {
            prop_assert_eq!(&key.to_string(), &path);
        }
        prop_assume!(!path.is_empty());
        let (run, names): (RunId, _) = (RUN.parse().unwrap(), Names::new(Prefix::none()));
        let entry = EntryKey::Begun(key.clone(), u32::MAX, u64::MAX);
        prop_assert_eq!(names.parse_entry(&names.entry(&run, &entry)), Some((run.clone(), entry)));
        let function = FunctionName::new(path.chars().take(100).collect::<String>()).unwrap();
        let task = names.task(&QueueName::default_queue(), &function, &run, &key, 1);
        prop_assert!(task.len() < 4_096, "a longer subject closes the connection");
        prop_assert_eq!(names.parse_task(&task), Some((function, run.clone(), key.clone(), 1)));
        let fired = names.fired(&run, TimerSort::Sleep, &key);
        prop_assert_eq!(names.parse_wake_up(&fired), Some((run, TimerSort::Sleep, key)));
    }

    #[test]
    fn a_value_reads_back_and_its_digest_is_its_own(one in values(), other in values()) {
        let (a, b) = (wire::encode_value(&one).unwrap(), wire::encode_value(&other).unwrap());
        prop_assert_eq!(&wire::decode_value::<serde_json::Value>(&a).unwrap(), &one);
        prop_assert_eq!(InputDigest::of(&a) == InputDigest::of(&b), without_nulls(&one) == without_nulls(&other));
    }
}

fn values() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..300).prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        "[a-c]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c]", inner, 0..3).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Absent and null are the same in a map.
fn without_nulls(value: &serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key.clone(), without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}
