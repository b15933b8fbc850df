use everstep::prelude::*;

fn to_a_task(ctx: WorkflowContext) {
    tokio::spawn(async move { ctx.log("elsewhere") });
}

fn main() {}
