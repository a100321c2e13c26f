//! The rules of the house, each a test, with a made-up violation beside it that the rule must find.

#![forbid(unsafe_code)]

mod crates;
mod documents;
mod modules;
mod repository;
mod sources;
mod tokens;
