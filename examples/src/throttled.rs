//! A nightly sync with a partner who allows little: so many calls a second, so many at a time, one of each shop. And one sync of a shop at
//! a time, however often somebody asks for it.

use everstep::prelude::*;

/// Fetches one product from the partner. The limit holds for the whole deployment: for all runs, on all workers.
#[function(name = "throttled.fetch", limit(concurrency = 4, per_key = 1, rate = "10/s"))]
pub async fn fetch(_ctx: FunctionContext, shop: String, product: u32) -> Result<u32, StepError> {
    Ok(product * 100 + u32::try_from(shop.len()).unwrap_or(0))
}

/// Fetches all products of a shop. While one sync of the shop is at work, another one waits for it.
#[workflow(singleton = "queue", limit(concurrency = 3))]
pub async fn sync_shop(ctx: WorkflowContext, shop: String, products: u32) -> Result<u32, WorkflowError> {
    let fetches = (0..products).map(|product| {
        ctx.step(fetch, (shop.clone(), product))
            .key(format!("fetch/{product}"))
            .limit_key(&shop)
    });
    let prices = ctx.parallel(fetches.collect::<Vec<_>>()).await?;
    Ok(prices.into_iter().sum())
}

/// Syncs many shops: each in a run of its own, in its own turn.
#[workflow]
pub async fn sync_shops(ctx: WorkflowContext, shops: Vec<String>) -> Result<u32, WorkflowError> {
    let syncs = shops.into_iter().map(|shop| {
        ctx.child(sync_shop, (shop.clone(), 2))
            .key(format!("sync/{shop}"))
            .limit_key(shop)
    });
    let sums = futures::future::try_join_all(syncs).await?;
    Ok(sums.into_iter().sum())
}

/// The application.
pub fn app() -> App {
    App::new().workflow(sync_shop).workflow(sync_shops).function(fetch)
}
