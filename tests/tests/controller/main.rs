//! The controller with a real API server and a real registry.

mod access;
mod additions;
mod binary;
mod content;
mod conversion;
mod demand;
mod freshness;
mod heal;
mod jobs;
mod jobs_lab;
mod kueue;
mod lab;
mod leader;
mod loop_guard;
mod moved_tags;
mod outage;
mod platforms;
mod program;
mod records;
mod refusals;
mod request_gate;
mod restraint;
mod sharing;
