//! Parses arbitrary bytes as `WWW-Authenticate`: the parser returns a challenge or an error, without a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|header: &[u8]| zstart_registry::auth::fuzz_challenge(header));
