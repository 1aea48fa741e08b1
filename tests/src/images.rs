//! Images for the lab: small fixtures with computed digests, and large real images.

mod fixture;
mod push;
pub mod real;

pub use fixture::{Compression, Fixture, Format, Index, Prepared};
pub use push::{open_repository, push_layout};
