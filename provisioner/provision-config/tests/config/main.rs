//! The configuration of this repository and small made-up projects, through the public interface.

mod memo;
mod mistakes;
mod project;
mod scenarios;
