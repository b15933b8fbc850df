use std::rc::Rc;

use everstep::prelude::*;

#[function]
async fn holds_an_rc(ctx: FunctionContext) -> Result<(), StepError> {
    let shared = Rc::new(1);
    ctx.cancelled().await;
    drop(shared);
    Ok(())
}

fn main() {}
