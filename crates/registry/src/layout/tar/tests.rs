//! Tests of the index. (`tests/tests/cli/archive.rs` reads archives that other programs wrote.)

use std::io::Cursor;

use super::*;

/// A header with a valid checksum, in the format of POSIX.
fn header(name: &str, kind: u8, size: u64) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    with_checksum(block)
}

fn with_checksum(mut block: Vec<u8>) -> Vec<u8> {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// A header with its content, padded.
pub(in super::super) fn entry(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = header(name, kind, content.len() as u64);
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn read(archive: &[u8]) -> io::Result<TarIndex> {
    TarIndex::read(Cursor::new(archive), archive.len() as u64)
}

fn error(archive: &[u8]) -> String {
    read(archive).unwrap_err().to_string()
}

fn content<'a>(archive: &'a [u8], name: &str) -> &'a [u8] {
    let Extent { offset, size } = read(archive).unwrap().file(name).unwrap();
    &archive[usize::try_from(offset).unwrap()..][..usize::try_from(size).unwrap()]
}

fn blob() -> String {
    blob_name(&Digest::sha256_of(b"blob"))
}

#[test]
fn files_are_found_under_every_spelling_of_their_names() {
    let pax = |text: &str| {
        // The length counts itself.
        let length = (1..200).find(|length| format!("{length} {text}\n").len() == *length).unwrap();
        format!("{length} {text}\n")
    };
    for front in [
        vec![],
        entry("././@LongLink", b'L', format!("./{}\0", blob()).as_bytes()),
        entry("PaxHeaders/x", b'x', pax(&format!("path=/{}", blob())).as_bytes()),
        entry("pax_global_header", b'g', pax("comment=0123").as_bytes()),
    ] {
        let is_named = front.is_empty() || front[156] == b'g';
        let name = if is_named { blob() } else { "cut".to_owned() };
        let archive =
            [entry("./", b'5', b""), front, entry(&name, b'0', b"blob"), entry("./index.json", 0, b"{}")]
                .concat();
        assert_eq!(content(&archive, &blob()), b"blob");
        assert_eq!(content(&archive, INDEX_FILE), b"{}");
    }
    let mut split = header(&blob()["blobs/".len()..], b'0', 4);
    split[345..350].copy_from_slice(b"blobs");
    let archive = [with_checksum(split), entry("x", b'0', b"")].concat();
    // Without content of its own, the next header is the blob's content.
    assert_eq!(content(&archive, &blob()).len(), 4);
}

#[test]
fn sizes_beyond_octal_and_of_pax_headers_are_read() {
    let mut binary = entry(INDEX_FILE, b'0', b"0123456789");
    binary[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10]);
    assert_eq!(content(&with_checksum_of_first(binary), INDEX_FILE), b"0123456789");
    let mut pax = entry("x", b'x', b"9 size=4\n");
    pax.extend(entry(INDEX_FILE, b'0', b"0123"));
    pax.extend(entry(MARKER_FILE, b'0', b"next"));
    assert_eq!(content(&pax, INDEX_FILE), b"0123");
    assert_eq!(content(&pax, MARKER_FILE), b"next");
    for size in [[0xff; 12], [0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]] {
        let mut huge = entry(INDEX_FILE, b'0', b"");
        huge[124..136].copy_from_slice(&size);
        assert!(error(&with_checksum_of_first(huge)).contains("size at byte 0 is invalid"));
    }
}

fn with_checksum_of_first(mut archive: Vec<u8>) -> Vec<u8> {
    let rest = archive.split_off(512);
    [with_checksum(archive), rest].concat()
}

#[test]
fn later_entry_and_hard_link_give_the_content() {
    let mut link = header(INDEX_FILE, b'1', 99);
    let target = blob();
    link[157..157 + target.len()].copy_from_slice(target.as_bytes());
    let link = with_checksum(link);
    let archive =
        [entry(&blob(), b'0', b"old"), entry(&blob(), b'0', b"new"), link.clone(), vec![0; 1024]].concat();
    assert_eq!(content(&archive, &blob()), b"new");
    assert_eq!(content(&archive, INDEX_FILE), b"new", "the size of a link says nothing");
    let unreadable = |archive: &[u8]| read(archive).unwrap().file(INDEX_FILE).unwrap_err().to_string();
    assert!(unreadable(&link).contains("a hard link to no earlier file"));
    assert!(unreadable(&entry(INDEX_FILE, b'2', b"")).contains("a symbolic link"));
    assert!(error(&entry("other", b'S', b"1")).contains("\"other\" is a sparse file"));
    let sparse = [entry("x", b'x', b"22 GNU.sparse.major=1\n"), entry(INDEX_FILE, b'0', b"1")].concat();
    assert!(unreadable(&sparse).contains("a sparse file"));
    assert!(unreadable(&entry("other", b'0', b"")).contains("the archive has no index.json"));
}

#[test]
fn other_names_are_not_kept() {
    let names = ["../index.json", "layout/index.json", "blobs/sha256/../x", "blobs/md5/00", "index.json/"];
    for name in names {
        assert!(read(&entry(name, b'0', b"{}")).unwrap().files.is_empty(), "{name}");
    }
}

#[test]
fn truncated_damaged_and_foreign_files_have_clear_errors() {
    let archive = [entry(INDEX_FILE, b'0', &[b'x'; 700]), entry(MARKER_FILE, b'0', b"{}")].concat();
    assert!(error(&archive[..1000]).contains("truncated: 700 bytes follow at byte 512, of 1000"));
    assert!(error(&archive[..1600]).contains("the header at byte 1536 is incomplete"));
    // The end's zeros and the last padding may be missing.
    assert!(read(&archive[..1212]).is_ok() && read(&archive[..2050]).is_ok());
    let mut damaged = archive.clone();
    damaged[1540] ^= 1;
    assert!(error(&damaged).contains("the header at byte 1536 has a wrong checksum"));
    assert!(error(b"short").contains("no tar archive"));
    assert!(error(&[b'x'; 2000]).contains("no tar archive"));
    assert!(read(&[]).unwrap().files.is_empty());
    for (front, program) in
        [(&b"\x1f\x8b\x08"[..], "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh9", "bzip2")]
    {
        assert!(error(front).contains(&format!("compressed with {program}")), "{}", error(front));
        assert!(error(front).contains(&format!("`{program} -dc FILE > NEW.tar`")));
    }
    let huge = header("x", b'x', EXTENDED_MAX + 1);
    assert!(error(&huge).contains("exceeds the limit of 1048576 bytes"));
    for record in ["1 path=x\n", "999 path=x\n", "path=x\n", "9 path x\n", "10 size=-1\n"] {
        assert!(error(&entry("x", b'x', record.as_bytes())).contains("pax header at byte 0 is malformed"));
    }
}

#[test]
fn number_of_entries_is_bounded() {
    let archive = header("x", b'0', 0).repeat(ENTRIES_MAX + 1);
    assert!(error(&archive).contains("more than 100000 entries"));
}

#[test]
fn damaged_archive_gives_no_extent_outside_the_file() {
    let archive = [
        entry("x", b'x', b"9 size=4\n"),
        entry(INDEX_FILE, b'0', b"0123"),
        entry("././@LongLink", b'L', MARKER_FILE.as_bytes()),
        entry("cut", b'0', b"next"),
        vec![0; 1024],
    ]
    .concat();
    let (mut read_whole, mut refused) = (0, 0);
    for position in 0..archive.len() {
        for byte in [0, b'0', b'7', b'9', b'x', b'\n', 0x80, 0xff] {
            let mut damaged = archive.clone();
            damaged[position] = byte;
            // Every header has a valid checksum again, so that the damage is read.
            for header in
                (0..damaged.len()).step_by(512).filter(|at| archive[at + 257..].starts_with(b"ustar"))
            {
                let fixed = with_checksum(damaged[header..header + 512].to_vec());
                damaged[header..header + 512].copy_from_slice(&fixed);
            }
            let Ok(index) = read(&damaged) else {
                refused += 1;
                continue;
            };
            read_whole += 1;
            for entry in index.files.values() {
                let Entry::File(Extent { offset, size }) = entry else { continue };
                assert!(offset + size <= damaged.len() as u64, "byte {position} is {byte}");
            }
        }
    }
    assert!(read_whole > 1000 && refused > 100, "{read_whole} {refused}");
}
