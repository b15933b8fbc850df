//! Tests of Everstep that need more than one crate.
