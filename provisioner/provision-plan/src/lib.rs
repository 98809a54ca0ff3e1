//! provision-plan.
