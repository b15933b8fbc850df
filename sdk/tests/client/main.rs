//! The client and what it stands on, against a simulated server that answers late, wrongly or not at all.

mod answering;
mod bench;
mod growing;
mod looking;
mod starting;
