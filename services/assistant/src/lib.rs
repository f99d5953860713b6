//! Answers while no human does
