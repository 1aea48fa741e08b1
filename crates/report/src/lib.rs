//! Report on what zstart saved: [`Savings`] sums up images, by their records or by other measurements, and has the
//! report in four forms.

mod csv;
mod figures;
mod html;
mod json;
mod table;

pub use figures::{Comparison, Image, Measured, Pulls, Savings, Total};
