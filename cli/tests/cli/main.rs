//! The command as a process, against a real server: what it prints, where, and how it ends.

mod family;
mod operating;
mod outside;
mod running;
mod sessions;
mod support;
mod triggers;
