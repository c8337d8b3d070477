//! One verb per file.
fn main() {}
