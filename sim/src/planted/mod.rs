//! Planted bugs: does the simulator find what it is there to find?
//!
//! A bug is a file of `sim/bugs/`: passages of this repository's source and what stands in their
//! place when the bug is planted. Nothing that ships knows of them. `cargo sim bugs` writes a copy
//! of the source with all of them in it ([`overlay`]), each behind a switch that is off, builds
//! it, and runs the catalog there with one switch on at a time until a guarantee falls ([`hunt`]).

pub mod bug;
pub mod hunt;
pub mod overlay;
pub mod switch;
pub mod table;

pub use bug::Bug;
