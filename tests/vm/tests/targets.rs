//! .

crate::harness::tests![];
