//! Nothing crosses from one workspace to another, on the machines.
//!
//! Two workspaces share a gateway and an owner, and have users and channels of the same names. A
//! user of the first says everything that a client can say, naming what exists only in the second
//! or in both. Then
//!
//! - that user hears exactly what they would hear if the second workspace were empty;
//! - the second workspace hears, and stores, exactly what it would if that user said nothing.
//!
//! So neither contents nor the existence of anything can be told. That each probe is well aimed is
//! shown by a user of the second workspace who says the same, and hears something else.

#[cfg(test)]
mod deployment;
#[cfg(test)]
mod probes;
