//! Example workflows of Everstep, each a module that a test can kill at any moment.

pub mod approval;
pub mod demo;
pub mod onboarding;
pub mod order;
