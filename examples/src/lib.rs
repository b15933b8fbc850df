//! Example workflows of Everstep.
