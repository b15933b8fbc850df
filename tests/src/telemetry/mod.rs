//! What telemetry is tested with: a reader of `/metrics`, a collector that takes spans, and an application that is traced.

mod app;
mod collector;
mod scrape;

pub use app::{application, fickle, greet, greeting, party};
pub use collector::{Collector, Exported};
pub use scrape::{Scraped, scrape};
