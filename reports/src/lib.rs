//! What a run is told as: to terminals, browsers, CI and other programs.
//!
//! A [`tally`] of verdicts becomes a [`report::RunReport`]; each renderer turns that into text and
//! does no I/O. Identical reports render to identical bytes.

mod chart;
pub mod html;
pub mod json;
pub mod junit;
mod markup;
pub mod report;
pub mod table;
pub mod tally;
