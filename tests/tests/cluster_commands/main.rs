//! Commands that look into a cluster or change it: the built program, on a real API server.

mod check;
mod explain;
mod lab;
mod objects;
mod opt_in;
mod overview;
mod requests;
