//! Load scenarios of Everstep.
