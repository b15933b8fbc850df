use everstep::prelude::*;

#[workflow]
async fn order(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    tokio::select! { _ = ctx.sleep(Duration::from_secs(1)) => {} }
    futures::select! { _ = ctx.sleep(Duration::from_secs(1)) => {} }
    tokio::spawn(async {});
    tokio::task::spawn_blocking(|| ());
    std::thread::spawn(|| ());
    tokio::time::sleep(Duration::from_secs(1)).await;
    std::thread::sleep(Duration::from_secs(1));
    let began = std::time::SystemTime::now();
    let began = std::time::Instant::now();
    let began = Timestamp::now();
    let drawn: u64 = rand::random();
    let id = uuid::Uuid::new_v4();
    let text = std::fs::read_to_string("order.json")?;
    let home = std::env::var("HOME")?;
    Ok(())
}

fn main() {}
