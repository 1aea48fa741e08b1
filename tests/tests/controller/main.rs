//! The controller, with a real API server and a real registry.

mod access;
mod binary;
mod content;
mod conversion;
mod demand;
mod hold;
mod lab;
mod moving;
mod outage;
mod records;
mod refusals;
mod sharing;
mod wire;
