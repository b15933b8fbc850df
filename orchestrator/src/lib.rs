//! Drives runs: feed, dispatch, partition ownership, timers.
