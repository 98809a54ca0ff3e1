//! The configuration of this repository and small made-up projects, through the public interface.

mod project;
mod scenarios;
