//! What is written as one message is small enough for one, however much it holds.

use everstep_common::flow::{Demand, KeyMark, Rate, Slot, Usage};
use everstep_common::ids::Partition;
use everstep_common::key::StepKey;
use everstep_common::limits::{KEY_TOKEN_BYTES_MAX, LIMIT_KEYS_MAX, LIMIT_SLOTS_MAX, NAME_CHARS_MAX, PARTITIONS_MAX};
use everstep_common::wire;

use super::samples::time;

/// What a server takes unless it is told otherwise, and room for headers.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024 - 1024;

#[test]
fn the_largest_record_of_a_limit_is_one_message() {
    let slots = (0..LIMIT_SLOTS_MAX).map(|number| Slot {
        run: format!("{}-{number:032x}", PARTITIONS_MAX - 1).parse().unwrap(),
        step: StepKey::from_path(&"s".repeat(KEY_TOKEN_BYTES_MAX)),
        attempt: u32::MAX,
        key: Some("🔑".repeat(NAME_CHARS_MAX)),
        started: None,
    });
    let demand = Demand {
        count: LIMIT_SLOTS_MAX,
        priority: i8::MIN,
        since: time(),
    };
    let mut usage = Usage {
        slots: slots.collect(),
        waiting: (0..PARTITIONS_MAX)
            .map(|number| (Partition(number), demand.clone()))
            .collect(),
        next: Some(time()),
        given: u64::MAX,
        ..Usage::default()
    };
    let rate: Rate = "5/min".parse().unwrap();
    let keys = (0..LIMIT_KEYS_MAX).map(|number| KeyMark::of(&format!("key {number}")));
    keys.for_each(|key| usage.paces.begin(key, rate, time()));
    assert_eq!((usage.slots.len(), usage.paces.room()), (LIMIT_SLOTS_MAX as usize, 0));

    let bytes = wire::encode(&usage).unwrap();
    assert!(bytes.len() <= MESSAGE_BYTES_MAX, "{} bytes", bytes.len());
    assert_eq!(wire::decode::<Usage>(&bytes), Ok(usage));
}
