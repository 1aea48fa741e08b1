//! Images for the lab: small fixtures whose digests are computed, and one large real image.

mod fixture;
mod push;
pub mod real;

pub use fixture::{Compression, Fixture, Format, Index, Prepared};
pub use push::{open_repository, push_layout};
