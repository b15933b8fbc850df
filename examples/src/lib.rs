//! Example workflows of Everstep, each a module that a test can kill at any moment.

pub mod demo;
pub mod notify;
pub mod order;
pub mod stateful;
pub mod welcome;
