//! The command as a process, against a real server: what it prints, where, and how it ends.

mod family;
mod limits;
mod operating;
mod outside;
mod running;
mod sessions;
mod starting;
mod support;
mod triggers;
