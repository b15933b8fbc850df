//! The ports of Everstep in memory: a JetStream model with seeded faults and a simulated clock.
