//! A block of loopback addresses, names that stand for some of them, and what listens at those of Services.

mod block;
mod hosts;
mod proxy;
mod publish;

pub use self::block::Block;
pub use self::hosts::{Host, Place, rewrite};
pub(crate) use self::proxy::Services;
