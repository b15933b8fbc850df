//! The attribute macros of Everstep.
