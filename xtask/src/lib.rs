//! The project's commands, and the process supervision behind them: [`stack::Stack`] runs all of
//! Baton, its servers and the simulators as real processes.

pub mod check;
pub mod demo;
pub mod faults;
pub mod log;
pub mod stack;
pub mod test;
pub mod up;

/// A line for whoever runs the command.
#[expect(clippy::print_stdout, reason = "these are commands: stdout is their interface")]
pub(crate) fn say(line: impl std::fmt::Display) {
    println!("{line}");
}
