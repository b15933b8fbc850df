//! The whole engine on the simulated server: any number of orchestrators, workers and clients on one thread, under one paused clock, with
//! deaths and faults wherever the settings put them. The same settings and code give the same story.
//!
//! ```text
//! simulate ── World ── processes: orchestrators (moved by the driver), workers and clients (tasks of the runtime)
//!                │       └── a process that dies is started again under a new name, as a supervisor does
//!                ├── MemoryServer: JetStream with seeded faults, crash points at each call of the port
//!                └── Ledger: what the functions did to the outside world
//! scenarios, trials, owners, keeping, hot_path, waking, sessions, blocks, outside, updates, children, starting, flow, triggers, trigger_troubles, trigger_terms, schedules, awaited ── what is run, and what must come of it
//! crashes ── where a process dies
//! everywhere ── the tests that every list of scenarios has
//! properties ── P1 to P7, checked on what the server holds in the end
//! ```

mod agreement;
mod awaited;
mod blocks;
mod children;
mod clients;
mod crashes;
mod disasters;
mod driver;
mod everywhere;
mod examples;
mod flow;
mod hot_path;
mod keeping;
mod key_rates;
mod ledger;
mod outside;
mod outside_blocks;
mod owners;
mod processes;
mod properties;
mod relatives;
mod rollback;
mod runs_flow;
mod scenarios;
mod schedules;
mod sessions;
mod settings;
pub mod shop;
mod starting;
mod steps;
mod story;
mod trials;
mod trigger_terms;
mod trigger_troubles;
mod triggers;
mod updates;
mod versions;
mod waking;
mod world;

pub use agreement::{recorded_on, recorded_on_the_simulated_server};
pub use blocks::block_scenarios;
pub use children::{apart, child_scenarios};
pub use crashes::{Crash, Victim, at_every_call, at_every_entry, at_some, at_some_places};
pub use driver::{Outcome, play, play_under_seeds};
pub use everywhere::is_the_same_story_twice;
pub use ledger::Ledger;
pub use outside::outside_scenarios;
pub use properties::check;
pub use rollback::rollback_scenarios;
pub use scenarios::{Scenario, scenarios};
pub use settings::Settings;
pub use starting::starting_scenarios;
pub use steps::step_scenarios;
pub use story::{Story, seeds};
pub use updates::update_scenarios;
pub use versions::{edit_scenarios, version_scenarios};
pub use waking::FIT;
pub use world::World;
