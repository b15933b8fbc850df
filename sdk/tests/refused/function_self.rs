use everstep::prelude::*;

struct Payments;

impl Payments {
    #[function]
    async fn charge(&self, ctx: FunctionContext, cents: u64) -> Result<u64, StepError> {
        Ok(cents)
    }
}

fn main() {}
