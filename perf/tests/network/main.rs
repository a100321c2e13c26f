//! The engine over real sockets: peers that are killed, meet, lie, or sit behind a line that flips bits.

mod collisions;
mod corruption;
mod credit;
mod hostile;
mod killed;
mod stage;
mod trust;
mod unreachable;
