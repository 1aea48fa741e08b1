//! Whole clusters, which need root. Each test starts its own cluster and is the first process in its
//! namespaces.

mod commands;
mod cron;
mod end_to_end;
mod fields;
mod freshness;
mod heal;
mod helm;
mod jobs;
mod lab;
mod power;
mod pull_times;
mod scenarios;
mod shop;
mod tour;
