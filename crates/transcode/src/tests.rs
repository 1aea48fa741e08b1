//! Tests of the transcoder.

mod breakage;
mod codes;
mod damage;
mod deflate;
mod gzip_forms;
mod hints;
mod round_trips;
mod sequences;
mod support;
mod two_threads;
