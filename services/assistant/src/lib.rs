//! Answers while no human does

pub mod rules;
