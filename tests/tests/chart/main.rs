//! The Helm chart as an administrator meets it: what it accepts, what it renders, and what a real API
//! server makes of that.

mod rendering;
mod rights;
mod server;
mod values;
