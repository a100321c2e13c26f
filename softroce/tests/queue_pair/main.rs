//! A queue pair without a network card: rule by rule, packet by packet, and two of them over a bad network.

mod dice;
mod memory;
mod network;
mod plan;
mod requester;
mod responder;
mod stage;
mod states;
mod trouble;
mod wire;
mod world;
