//! What goes wrong outside of the disk: processes that die, directories that are none, file systems that are full or can
//! little, times that were set back.

mod ages;
mod file_systems;
mod processes;
mod refusals;
mod worker;
