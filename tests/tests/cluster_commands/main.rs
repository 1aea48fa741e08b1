//! `zstart check` and `zstart explain`: the built program, on a real API server.

mod check;
mod explain;
mod lab;
mod objects;
mod requests;
