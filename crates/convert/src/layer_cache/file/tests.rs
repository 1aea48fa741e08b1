//! Tests of the layer cache file.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use serde_json::json;
use tempfile::TempDir;
use zstart_core::Digest;

use super::*;
use crate::converted_layer::ConvertedLayer;

fn key(number: usize) -> LayerKey {
    LayerKey { layer: Digest::sha256_of(&number.to_be_bytes()), settings: "level=3".to_owned() }
}

fn converted(number: usize) -> ConvertedLayer {
    let (diff_id, digest) = (Digest::sha256_of(b"files"), Digest::sha256_of(b"packed files"));
    let converted = json!({"diff_id": diff_id, "written": {"digest": digest, "size": number}});
    serde_json::from_value(converted).unwrap()
}

/// Adds layers to a file, as a program of its own.
fn insert_layers(file: &Path, numbers: impl IntoIterator<Item = usize>) {
    let cache = LayerCache::read(file).unwrap_or_default();
    for number in numbers {
        cache.insert(&key(number), &converted(number), "registry/app");
    }
    cache.save(file).unwrap();
}

fn contains(file: &Path, number: usize) -> bool {
    LayerCache::read(file).unwrap().get(&key(number)).is_some()
}

/// The message for a file that can't be used.
fn message(file: &Path) -> String {
    LayerCache::read(file).unwrap_err().to_string()
}

#[test]
fn saved_entries_are_found_by_the_next_process() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("cache").join("layers.json");
    let cache = LayerCache::read(&file).unwrap();
    let kept = ConvertedLayer { written: None, ..converted(1) };
    cache.insert(&key(0), &converted(0), "registry/app");
    cache.insert(&key(1), &kept, "registry/app");
    cache.insert(&key(1), &kept, "registry/other");
    cache.save(&file).unwrap();

    let cache = LayerCache::read(&file).unwrap();
    let found = |number| cache.get(&key(number)).unwrap();
    assert_eq!(found(0).converted, converted(0));
    assert_eq!((found(1).converted, found(1).locations.len()), (kept, 2));
    assert!(!cache.contains(&key(0).layer, "level=9"), "other settings give other bytes");
}

#[test]
fn concurrent_processes_keep_each_others_entries() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("layers.json");
    let programs: Vec<LayerCache> = (0..16).map(|_| LayerCache::read(&file).unwrap()).collect();
    let together = std::sync::Barrier::new(programs.len());
    thread::scope(|scope| {
        for (number, cache) in programs.iter().enumerate() {
            let (file, together) = (&file, &together);
            scope.spawn(move || {
                cache.insert(&key(number), &converted(number), "registry/app");
                together.wait();
                cache.save(file).unwrap();
            });
        }
    });
    assert!((0..16).all(|number| contains(&file, number)));
}

#[test]
fn held_lock_times_out() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("layers.json");
    let held = lock_file(&file).unwrap();
    let cache = LayerCache::default();
    cache.insert(&key(0), &converted(0), "registry/app");
    assert!(matches!(cache.save(&file), Err(LayerCacheError::Locked { .. })));
    drop(held);
    cache.save(&file).unwrap();
    assert!(contains(&file, 0));
}

#[test]
fn file_keeps_the_most_recently_used_layers() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("layers.json");
    insert_layers(&file, 0..MAX_LAYERS);
    // A used entry stays.
    LayerCache::read(&file).map(|cache| (cache.get(&key(7)), cache.save(&file))).unwrap().1.unwrap();
    insert_layers(&file, MAX_LAYERS..2 * MAX_LAYERS - 1);
    assert!(contains(&file, 7) && contains(&file, MAX_LAYERS));
    assert_eq!(read(&file).unwrap().len(), MAX_LAYERS);
    assert!(fs::metadata(&file).unwrap().len() < MAX_FILE_BYTES);
}

#[test]
fn unused_cache_writes_no_file() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("cache").join("layers.json");
    LayerCache::read(&file).unwrap().save(&file).unwrap();
    assert!(!file.parent().unwrap().exists());
}

#[test]
fn file_writable_by_others_is_replaced_by_a_private_one() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("layers.json");
    insert_layers(&file, [0]);
    for mode in [0o666, 0o620, 0o602] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        assert!(message(&file).contains("other users own it or may write to it"), "{}", message(&file));
        insert_layers(&file, [1]);
        assert!(contains(&file, 1) && !contains(&file, 0), "{mode:o}");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn damaged_file_is_reported_and_replaced() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("layers.json");
    let huge = " ".repeat(usize::try_from(MAX_FILE_BYTES).unwrap() + 1);
    for (content, expected) in [
        ("", "EOF while parsing"),
        ("{\"version\":1,\"layers\":[{\"layer\":\"../x\"}]}", "not of the form algorithm:hex"),
        ("{\"version\":2,\"layers\":[]}", "version 2 instead of 1"),
        (huge.as_str(), "larger than the limit of 16 MiB"),
    ] {
        fs::write(&file, content).unwrap();
        // Independent of this process' umask.
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(message(&file).contains(expected), "{}", message(&file));
        insert_layers(&file, [0]);
        assert!(contains(&file, 0));
    }
}

#[test]
fn folder_in_place_of_the_file_is_left_alone() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("layers.json");
    fs::create_dir(&file).unwrap();
    assert!(message(&file).contains("is no regular file"), "{}", message(&file));
    let cache = LayerCache::default();
    cache.insert(&key(0), &converted(0), "registry/app");
    assert!(matches!(cache.save(&file), Err(LayerCacheError::NotAFile { .. })));
    assert!(file.is_dir());
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "no lock or temporary file is left");
}

#[test]
fn symlinks_of_the_file_and_its_lock_are_not_followed() {
    let home = TempDir::new().unwrap();
    let at = |name: &str| home.path().join(name);
    insert_layers(&at("other.json"), [0]);
    symlink(at("other.json"), at("layers.json")).unwrap();
    assert!(message(&at("layers.json")).contains("links are not followed"));

    symlink(at("made-by-a-link"), at("mine.json.lock")).unwrap();
    let cache = LayerCache::default();
    cache.insert(&key(0), &converted(0), "registry/app");
    assert!(matches!(cache.save(&at("mine.json")), Err(LayerCacheError::File { action: "lock", .. })));
    assert!(!at("made-by-a-link").exists());
}
