//! Tests only: the rules of the house that the compiler does not check, in `tests/tidy`, and the examples of the
//! README, which are compiled and run.

#![forbid(unsafe_code)]

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
