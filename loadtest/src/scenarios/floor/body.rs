//! The body of a task and of its result: MessagePack of about 256 bytes.

use bytes::Bytes;
use everstep_common::wire;
use serde::{Deserialize, Serialize};

/// Makes the encoded body about 256 bytes long.
const PADDING: &str = "\
    0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
    0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Which step of which run; what a reader takes from a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Step {
    /// The run's number.
    pub run: u64,
    /// The step's number in the run.
    pub step: u64,
}

/// The body as it is written.
#[derive(Serialize)]
struct Body {
    run: u64,
    step: u64,
    padding: &'static str,
}

impl Step {
    /// The body that names this step.
    pub fn encode(self) -> anyhow::Result<Bytes> {
        let body = Body {
            run: self.run,
            step: self.step,
            padding: PADDING,
        };
        Ok(wire::encode_value(&body)?)
    }

    /// The step that a body names.
    pub fn decode(body: &[u8]) -> anyhow::Result<Self> {
        Ok(wire::decode_value(body)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_name_their_step_and_are_as_large_as_promised() {
        for (run, step) in [(0, 0), (u64::from(u32::MAX), 9_999)] {
            let step = Step { run, step };
            let bytes = step.encode().unwrap();
            assert!((245..=265).contains(&bytes.len()), "{}", bytes.len());
            assert_eq!(Step::decode(&bytes).unwrap(), step);
        }
    }
}
