//! The controller with a real API server and a real registry.

mod access;
mod binary;
mod content;
mod conversion;
mod demand;
mod freshness;
mod lab;
mod loop_guard;
mod moved_tags;
mod outage;
mod platforms;
mod records;
mod refusals;
mod request_gate;
mod sharing;
