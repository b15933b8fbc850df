//! Example workflows of Everstep, each a module that a test can kill at any moment.

pub mod account;
pub mod approval;
pub mod bulk;
pub mod dashboard;
pub mod demo;
pub mod fleet;
pub mod follow_up;
pub mod notify;
pub mod onboarding;
pub mod order;
pub mod payment;
pub mod report;
pub mod stateful;
pub mod table;
pub mod throttled;
pub mod trip;
pub mod welcome;
