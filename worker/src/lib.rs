//! Runs functions: task loop, function context, heartbeats.
