//! Parses arbitrary references: a valid one survives printing and parsing again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use zstart_core::{Digest, Platform, Reference, Tag};

fn survives<T: std::str::FromStr + ToString + PartialEq + std::fmt::Debug>(text: &str) {
    let Ok(value) = text.parse::<T>() else { return };
    let written = value.to_string();
    let Ok(again) = written.parse::<T>() else { panic!("{text:?} was written as {written:?}") };
    assert_eq!(again, value, "{text:?} was written as {written:?}");
}

fuzz_target!(|text: &str| {
    survives::<Reference>(text);
    survives::<Digest>(text);
    survives::<Tag>(text);
    survives::<Platform>(text);
    if let Ok(digest) = text.parse::<Digest>() {
        assert!(
            digest.hex().bytes().all(|byte| byte.is_ascii_alphanumeric()),
            "a digest is part of URLs, so its hex must need no escaping"
        );
    }
});
