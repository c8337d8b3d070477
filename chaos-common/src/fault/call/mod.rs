//! What all faults of calls have in common: which calls, whose, and which of those fail.

mod caller;
mod occasion;
mod operations;
mod paths;

pub use caller::{Caller, Comm};
pub use occasion::Occasion;
pub use operations::{OperationName, Operations};
pub use paths::Paths;
