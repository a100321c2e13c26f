//! The format of spilled partitions: what is written is read, and whatever is damaged is refused with its place.

mod checking;
mod codecs;
mod damage;
mod fields;
mod files;
mod hostile;
mod pieces;
mod vectors;
