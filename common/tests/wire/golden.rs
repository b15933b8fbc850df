//! The wire format, byte for byte: what was ever written decodes for ever, and is written the same way today.
//!
//! `tests/golden/v1.txt` holds the bytes of each sample, one `name hex` a line. A line is never changed, and goes only with the
//! last code that could meet such bytes; a shape that is new gets a new sample, and the failing test prints the line to add.

use std::collections::BTreeMap;

use crate::samples::{Sample, samples};
use everstep_common::ids::hex;
use everstep_common::wire::Error;
use rmpv::Value;

const GOLDEN: &str = include_str!("../golden/v1.txt");

fn golden() -> BTreeMap<&'static str, Vec<u8>> {
    let pairs = GOLDEN.lines().map(|line| line.split_once(' ').expect("`name hex`"));
    pairs.map(|(name, digits)| (name, bytes(digits))).collect()
}

fn bytes(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).expect("hex"))
        .collect()
}

/// The sample with its golden bytes taken apart: what stands after the version byte.
fn body(sample: &Sample) -> Value {
    rmpv::decode::read_value(&mut &sample.bytes[1..]).expect("MessagePack")
}

fn with_version(body: &Value) -> Vec<u8> {
    let mut bytes = vec![1];
    rmpv::encode::write_value(&mut bytes, body).expect("writing to memory");
    bytes
}

#[test]
fn bytes_once_written_decode_to_equal_values() {
    let golden = golden();
    for sample in samples() {
        let Some(bytes) = golden.get(sample.name.as_str()) else {
            continue;
        };
        (sample.says_the_same)(bytes).unwrap_or_else(|error| panic!("{}: {error}", sample.name));
    }
}

#[test]
fn todays_values_are_written_as_they_were() {
    let golden = golden();
    let changed: Vec<String> = samples()
        .iter()
        .filter(|sample| golden.get(sample.name.as_str()).is_none_or(|bytes| *bytes != sample.bytes))
        .map(|sample| format!("{} {}", sample.name, hex(&sample.bytes)))
        .collect();
    assert!(
        changed.is_empty(),
        "other bytes than in golden/v1.txt, or new:\n{}",
        changed.join("\n")
    );
}

#[test]
fn every_line_of_the_file_has_its_sample() {
    let samples = samples();
    for name in golden().keys() {
        assert!(
            samples.iter().any(|sample| sample.name == *name),
            "{name} is no longer read back by any sample"
        );
    }
    assert_eq!(golden().len(), GOLDEN.lines().count(), "a name stands twice");
}

#[test]
fn fields_of_a_later_version_are_ignored() {
    for sample in samples() {
        let mut later = body(&sample);
        add_fields(&mut later);
        (sample.says_the_same)(&with_version(&later)).unwrap_or_else(|error| panic!("{}: {error}", sample.name));
    }
}

/// Adds a field to every struct. What is no struct of ours: a map of one entry (an enum), tags, and the standard library's `Duration`.
fn add_fields(value: &mut Value) {
    let Value::Map(entries) = value else { return };
    for (name, value) in entries.iter_mut() {
        if !matches!(
            name.as_str(),
            Some("tags" | "timeout" | "heartbeat_timeout" | "retry_after" | "ack_wait" | "delay" | "deadline" | "per")
        ) {
            add_fields(value);
        }
    }
    if entries.len() > 1 {
        let news = Value::Map(vec![(Value::from("a"), Value::Array(vec![Value::Nil, Value::from(1)]))]);
        entries.insert(0, (Value::from("field_of_later"), news));
    }
}

#[test]
fn bytes_of_another_version_say_which() {
    for sample in samples().iter().filter(|sample| sample.name != "gone") {
        let mut later = sample.bytes.to_vec();
        later[0] = 2;
        assert_eq!((sample.decode)(&later), Err(Error::Version(2)), "{}", sample.name);
        assert_eq!((sample.decode)(&[]), Err(Error::Empty), "{}", sample.name);
    }
    let told = Error::Version(2).to_string();
    assert_eq!(
        told,
        "wire version 2 is not known to this build, which reads version 1; upgrade it"
    );
}

#[test]
fn a_tombstone_stands_whatever_it_says() {
    let gone = samples().into_iter().find(|sample| sample.name == "gone").unwrap();
    for bytes in [&[][..], &[9, 9], &[1, 0x81, 0xa1, b'a', 1]] {
        assert_eq!((gone.says_the_same)(bytes), Ok(()));
    }
}

#[test]
fn a_variant_of_a_later_version_is_named_in_the_error() {
    let cases = [
        ("start.minimal", "inline"),
        ("start.full", "stored"),
        ("step.value", "value"),
        ("step.failure.fatal", "failure"),
        ("try.panic", "panic"),
        ("local.value", "closure"),
        ("in.cancel", "cancel"),
        ("in.resume", "resume"),
        ("end.completed", "completed"),
        ("end.failed", "failed"),
        ("end.cancelled", "cancelled"),
        ("summary.parked", "parked"),
        ("deployment", "strict"),
    ];
    let samples = samples();
    for (name, variant) in cases {
        let sample = samples.iter().find(|sample| sample.name == name).expect(name);
        let mut later = body(sample);
        assert!(rename(&mut later, variant), "{name} holds no {variant}");
        match (sample.decode)(&with_version(&later)) {
            Err(Error::Malformed(reason)) if reason.contains("unknown variant `novelty`") => {}
            other => panic!("{name} with a novelty for {variant}: {other:?}"),
        }
    }
}

/// Gives the first variant of that name another one; whether there was one. Variants come as values before keys, outermost first.
fn rename(value: &mut Value, variant: &str) -> bool {
    match value {
        Value::String(text) if text.as_str() == Some(variant) => {
            *value = Value::from("novelty");
            true
        }
        Value::Map(entries) if entries.len() == 1 => rename(&mut entries[0].0, variant) || rename(&mut entries[0].1, variant),
        Value::Map(entries) => entries.iter_mut().any(|(_, value)| rename(value, variant)),
        _ => false,
    }
}

#[test]
fn a_failure_of_a_later_kind_reads_as_other() {
    let samples = samples();
    let find = |name: &str| samples.iter().find(|sample| sample.name == name).unwrap();
    let mut later = body(find("step.failure.fatal"));
    assert!(rename(&mut later, "fatal"));
    assert_eq!((find("step.failure.other").says_the_same)(&with_version(&later)), Ok(()));
}

#[test]
fn bytes_that_are_cut_or_of_another_shape_are_malformed() {
    let samples = samples();
    for sample in samples.iter().filter(|sample| sample.name != "gone") {
        for end in 1..sample.bytes.len() {
            let cut = (sample.decode)(&sample.bytes[..end]);
            assert!(
                matches!(cut, Err(Error::Malformed(_))),
                "{} cut at {end}: {cut:?}",
                sample.name
            );
        }
        for shape in [Value::from(700), Value::from("text"), Value::Map(Vec::new()), Value::Nil] {
            let other = (sample.decode)(&with_version(&shape));
            assert!(
                matches!(other, Err(Error::Malformed(_))),
                "{} as {shape}: {other:?}",
                sample.name
            );
        }
    }
}
