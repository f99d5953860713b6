//! The project's commands, and the process supervision behind them: [`stack::Stack`] runs all of
//! Baton, its servers and the simulators as real processes.

pub mod bench;
pub mod check;
pub mod config_reference;
pub mod containers;
pub mod demo;
pub mod faults;
pub mod keypair;
pub mod log;
mod offer;
pub mod stack;
pub mod test;
pub mod up;

/// A line for whoever runs the command. Nobody may be listening any more: what was started still
/// has to be stopped.
pub(crate) fn say(line: impl std::fmt::Display) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{line}");
}
