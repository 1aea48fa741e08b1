use std::os::unix::fs::{PermissionsExt as _, symlink};

use serde_json::json;
use tempfile::TempDir;
use zstart_core::Digest;

use super::*;
use crate::engine::ConvertedLayer;

fn key(number: usize) -> LayerKey {
    LayerKey { layer: Digest::sha256_of(&number.to_be_bytes()), settings: "level=3".to_owned() }
}

fn outcome(number: usize) -> ConvertedLayer {
    let (diff_id, digest) = (Digest::sha256_of(b"files"), Digest::sha256_of(b"packed files"));
    let outcome = json!({"diff_id": diff_id, "written": {"digest": digest, "size": number}});
    serde_json::from_value(outcome).unwrap()
}

/// Remembers layers in a file, as a program of its own.
fn remember(file: &Path, numbers: impl IntoIterator<Item = usize>) {
    let memory = LayerMemory::read(file).unwrap_or_default();
    for number in numbers {
        memory.note(&key(number), &outcome(number), "registry/app");
    }
    memory.save(file).unwrap();
}

fn knows(file: &Path, number: usize) -> bool {
    LayerMemory::read(file).unwrap().get(&key(number)).is_some()
}

/// The message for a file that can't be used.
fn message(file: &Path) -> String {
    LayerMemory::read(file).unwrap_err().to_string()
}

#[test]
fn what_one_program_remembers_the_next_one_finds() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("cache").join("layers.json");
    let memory = LayerMemory::read(&file).unwrap();
    let kept = ConvertedLayer { written: None, ..outcome(1) };
    memory.note(&key(0), &outcome(0), "registry/app");
    memory.note(&key(1), &kept, "registry/app");
    memory.note(&key(1), &kept, "registry/other");
    memory.save(&file).unwrap();

    let memory = LayerMemory::read(&file).unwrap();
    let found = |number| memory.get(&key(number)).unwrap();
    assert_eq!(found(0).outcome, outcome(0));
    assert_eq!((found(1).outcome, found(1).places.len()), (kept, 2));
    assert!(!memory.knows(&key(0).layer, "level=9"), "other settings, other bytes");
}

#[test]
fn programs_that_run_side_by_side_keep_what_the_others_added() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("layers.json");
    let programs: Vec<LayerMemory> = (0..16).map(|_| LayerMemory::read(&file).unwrap()).collect();
    let together = std::sync::Barrier::new(programs.len());
    thread::scope(|scope| {
        for (number, memory) in programs.iter().enumerate() {
            let (file, together) = (&file, &together);
            scope.spawn(move || {
                memory.note(&key(number), &outcome(number), "registry/app");
                together.wait();
                memory.save(file).unwrap();
            });
        }
    });
    assert!((0..16).all(|number| knows(&file, number)));
}

#[test]
fn a_program_that_keeps_the_lock_stops_no_other_for_ever() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("layers.json");
    let held = lock(&file).unwrap();
    let memory = LayerMemory::default();
    memory.note(&key(0), &outcome(0), "registry/app");
    assert!(matches!(memory.save(&file), Err(MemoryFileError::Locked { .. })));
    drop(held);
    memory.save(&file).unwrap();
    assert!(knows(&file, 0));
}

#[test]
fn a_file_holds_the_layers_that_were_used_last() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("layers.json");
    remember(&file, 0..LAYERS_MAX);
    // Used again, and so it stays.
    LayerMemory::read(&file).map(|memory| (memory.get(&key(7)), memory.save(&file))).unwrap().1.unwrap();
    remember(&file, LAYERS_MAX..2 * LAYERS_MAX - 1);
    assert!(knows(&file, 7) && knows(&file, LAYERS_MAX));
    assert_eq!(read(&file).unwrap().len(), LAYERS_MAX);
    assert!(fs::metadata(&file).unwrap().len() < FILE_MAX);
}

#[test]
fn nothing_is_written_where_no_layer_was_dealt_with() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("cache").join("layers.json");
    LayerMemory::read(&file).unwrap().save(&file).unwrap();
    assert!(!file.parent().unwrap().exists());
}

#[test]
fn a_file_that_others_may_write_is_not_believed_and_its_successor_is_private() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("layers.json");
    remember(&file, [0]);
    for mode in [0o666, 0o620, 0o602] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        assert!(message(&file).contains("other users own it or may write to it"), "{}", message(&file));
        remember(&file, [1]);
        assert!(knows(&file, 1) && !knows(&file, 0), "{mode:o}");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_file_that_is_damaged_is_named_and_replaced() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("layers.json");
    let huge = " ".repeat(usize::try_from(FILE_MAX).unwrap() + 1);
    for (content, expected) in [
        ("", "EOF while parsing"),
        ("{\"version\":1,\"layers\":[{\"layer\":\"../x\"}]}", "not of the form algorithm:hex"),
        ("{\"version\":2,\"layers\":[]}", "version 2 instead of 1"),
        (huge.as_str(), "larger than 16 MiB"),
    ] {
        fs::write(&file, content).unwrap();
        // Whatever the mask of this process is.
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(message(&file).contains(expected), "{}", message(&file));
        remember(&file, [0]);
        assert!(knows(&file, 0));
    }
}

#[test]
fn what_is_no_file_is_left_alone() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("layers.json");
    fs::create_dir(&file).unwrap();
    assert!(message(&file).contains("is no regular file"), "{}", message(&file));
    let memory = LayerMemory::default();
    memory.note(&key(0), &outcome(0), "registry/app");
    assert!(matches!(memory.save(&file), Err(MemoryFileError::NotAFile { .. })));
    assert!(file.is_dir());
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_link_is_not_followed_for_the_file_nor_for_its_lock() {
    let home = TempDir::new().unwrap();
    let at = |name: &str| home.path().join(name);
    remember(&at("other.json"), [0]);
    symlink(at("other.json"), at("layers.json")).unwrap();
    assert!(message(&at("layers.json")).contains("links are not followed"));

    symlink(at("made-by-a-link"), at("mine.json.lock")).unwrap();
    let memory = LayerMemory::default();
    memory.note(&key(0), &outcome(0), "registry/app");
    assert!(matches!(memory.save(&at("mine.json")), Err(MemoryFileError::File { action: "lock", .. })));
    assert!(!at("made-by-a-link").exists());
}
