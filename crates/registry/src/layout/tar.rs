//! Index of a tar archive: name, offset and size of its files. The headers are read once, and no content.
//!
//! The formats are those of POSIX (ustar, pax), GNU and Unix V7, which Go's `archive/tar`, GNU tar and bsdtar
//! write. No header is trusted: checksums are compared, sizes must fit into the file, extended headers and the
//! number of entries have limits. Only the names of a layout's files are kept, so no name of an entry ever
//! becomes a path.

use std::collections::HashMap;
use std::io::{self, BufRead as _, BufReader, Read, Seek};

use zstart_core::Digest;

use super::index_file::{INDEX_FILE, MARKER_FILE};

/// Size of a header and unit of an entry's content, in bytes.
const BLOCK: usize = 512;
/// Highest number of entries. An index has at most 500 images of at most 1,000 layers, and real archives have
/// some dozens of files.
const ENTRIES_MAX: usize = 100_000;
/// Largest extended header, in bytes. Paths have at most 4 KiB.
const EXTENDED_MAX: u64 = 1 << 20;
/// File of archives that `docker load` reads.
pub(super) const DOCKER_MANIFEST: &str = "manifest.json";

/// Position of a file's content in the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// Files of a layout in an archive.
#[derive(Debug, Default)]
pub(super) struct TarIndex {
    /// Later entries replace earlier ones of their name, as when an archive is unpacked.
    files: HashMap<String, Entry>,
}

#[derive(Clone, Copy, Debug)]
enum Entry {
    File(Extent),
    /// The content isn't in the archive as it is.
    Unreadable(&'static str),
}

/// Values of extended headers for the next entry.
#[derive(Default)]
struct Extended {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    is_sparse: bool,
}

struct Header([u8; BLOCK]);

impl TarIndex {
    /// Reads the headers of an archive of `length` bytes.
    pub(super) fn read(archive: impl Read + Seek, length: u64) -> io::Result<Self> {
        let mut archive = BufReader::with_capacity(8 * 1024, archive);
        require_uncompressed(archive.fill_buf()?)?;
        let mut index = Self::default();
        let mut extended = Extended::default();
        let mut position = 0;
        for _ in 0..ENTRIES_MAX {
            let Some(header) = Header::read(&mut archive, position, length)? else { return Ok(index) };
            let offset = position + BLOCK as u64;
            let size =
                header.size().ok_or_else(|| invalid(format!("the size at byte {position} is invalid")))?;
            let kind = header.kind();
            let size = match kind {
                b'L' | b'K' | b'x' => {
                    extended.read(kind, &mut archive, size, position)?;
                    size
                }
                b'g' => size,
                // Headers of unknown number follow.
                b'S' => {
                    let name = String::from_utf8_lossy(&header.name()).replace(char::is_control, "\u{fffd}");
                    let text =
                        format!("{name:?} is a sparse file in the archive; pack the folder without --sparse");
                    return Err(invalid(text));
                }
                _ => {
                    let extended = std::mem::take(&mut extended);
                    let size = if header.has_content() { extended.size.unwrap_or(size) } else { 0 };
                    index.insert(&header, &extended, Extent { offset, size });
                    size
                }
            };
            let end = offset.checked_add(size).filter(|end| *end <= length);
            let end = end.ok_or_else(|| {
                let text =
                    format!("the archive is truncated: {size} bytes follow at byte {offset}, of {length}");
                io::Error::new(io::ErrorKind::UnexpectedEof, text)
            })?;
            // The padding of the last entry may be missing.
            position = end.next_multiple_of(BLOCK as u64).min(length);
            archive.seek(io::SeekFrom::Start(position))?;
        }
        Err(invalid(format!("the archive has more than {ENTRIES_MAX} entries")))
    }

    fn insert(&mut self, header: &Header, extended: &Extended, extent: Extent) {
        let Some(name) = layout_name(&extended.name.clone().unwrap_or_else(|| header.name())) else { return };
        let entry = match header.kind() {
            _ if extended.is_sparse => Entry::Unreadable("a sparse file"),
            // A name that ends with a slash is a folder in the format of Unix V7.
            b'0' | b'7' | 0 => Entry::File(extent),
            b'1' => {
                let target = extended.link.clone().unwrap_or_else(|| header.link());
                let target = layout_name(&target).and_then(|target| self.files.get(&target));
                target.copied().unwrap_or(Entry::Unreadable("a hard link to no earlier file of the layout"))
            }
            b'2' => Entry::Unreadable("a symbolic link"),
            _ => Entry::Unreadable("no regular file"),
        };
        self.files.insert(name, entry);
    }

    /// Finds a file. An entry of another kind is an error.
    pub(super) fn file(&self, name: &str) -> io::Result<Extent> {
        match self.files.get(name) {
            Some(Entry::File(extent)) => Ok(*extent),
            Some(Entry::Unreadable(kind)) => {
                Err(invalid(format!("{name} is {kind} in the archive, which zstart doesn't read")))
            }
            None => Err(io::Error::new(io::ErrorKind::NotFound, format!("the archive has no {name}"))),
        }
    }
}

impl Header {
    /// Reads the header at `position`. `None` at the archive's end: a block of zeros, or no more bytes.
    fn read(archive: &mut impl Read, position: u64, length: u64) -> io::Result<Option<Self>> {
        if position == length {
            return Ok(None);
        }
        let mut block = [0; BLOCK];
        match archive.read_exact(&mut block) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && position > 0 => {
                let text = format!("the archive is truncated: the header at byte {position} is incomplete");
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(invalid("the file is no tar archive: it is shorter than one header".to_owned()));
            }
            other => other?,
        }
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let header = Self(block);
        if header.has_valid_checksum() {
            Ok(Some(header))
        } else if position == 0 {
            Err(invalid("the file is no tar archive".to_owned()))
        } else {
            Err(invalid(format!(
                "the archive is damaged: the header at byte {position} has a wrong checksum"
            )))
        }
    }

    /// The sum counts the checksum's own bytes as spaces. Old archives sum signed bytes.
    fn has_valid_checksum(&self) -> bool {
        let bytes = || {
            self.0.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { b' ' } else { *byte })
        };
        let unsigned: i64 = bytes().map(i64::from).sum();
        let signed: i64 = bytes().map(|byte| i64::from(byte.cast_signed())).sum();
        let stated = number(&self.0[148..156]).and_then(|stated| i64::try_from(stated).ok());
        stated.is_some_and(|stated| stated == unsigned || stated == signed)
    }

    fn size(&self) -> Option<u64> {
        number(&self.0[124..136])
    }

    fn kind(&self) -> u8 {
        self.0[156]
    }

    /// Links, devices and folders have no content, also if their header gives a size (Go, `archive/tar`,
    /// `isHeaderOnlyType`).
    fn has_content(&self) -> bool {
        !matches!(self.kind(), b'1'..=b'6')
    }

    fn name(&self) -> Vec<u8> {
        let name = text(&self.0[..100]);
        let prefix = text(&self.0[345..500]);
        // GNU's format has other members at the place of POSIX's prefix.
        if &self.0[257..263] == b"ustar\0" && !prefix.is_empty() {
            [prefix, b"/", name].concat()
        } else {
            name.to_vec()
        }
    }

    fn link(&self) -> Vec<u8> {
        text(&self.0[157..257]).to_vec()
    }
}

impl Extended {
    /// Reads the content of an extended header.
    fn read(&mut self, kind: u8, archive: &mut impl Read, size: u64, position: u64) -> io::Result<()> {
        if size > EXTENDED_MAX {
            let text =
                format!("the extended header at byte {position} exceeds the limit of {EXTENDED_MAX} bytes");
            return Err(invalid(text));
        }
        let mut content = Vec::new();
        archive.take(size).read_to_end(&mut content)?;
        match kind {
            b'L' => self.name = Some(text(&content).to_vec()),
            b'K' => self.link = Some(text(&content).to_vec()),
            _ => self
                .read_pax(&content)
                .ok_or_else(|| invalid(format!("the pax header at byte {position} is malformed")))?,
        }
        Ok(())
    }

    /// Reads records of the form `LENGTH KEY=VALUE\n` (POSIX, `pax`).
    fn read_pax(&mut self, mut records: &[u8]) -> Option<()> {
        while !records.is_empty() {
            let space = records.iter().position(|byte| *byte == b' ')?;
            let length: usize = std::str::from_utf8(&records[..space]).ok()?.parse().ok()?;
            let record = records.get(space + 1..length)?.strip_suffix(b"\n")?;
            records = &records[length..];
            let equals = record.iter().position(|byte| *byte == b'=')?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" => self.name = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => self.size = Some(std::str::from_utf8(value).ok()?.parse().ok()?),
                _ => self.is_sparse |= key.starts_with(b"GNU.sparse."),
            }
        }
        Some(())
    }
}

/// Refuses compressed archives: their files have no offsets. The command in the error works with any name of the
/// file; without `-c`, the four programs refuse or change names without their suffix.
fn require_uncompressed(front: &[u8]) -> io::Result<()> {
    let compressions: [(&[u8], &str); 4] =
        [(b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"\xfd7zXZ\0", "xz"), (b"BZh", "bzip2")];
    match compressions.iter().find(|(magic, _)| front.starts_with(magic)) {
        Some((_, program)) => Err(invalid(format!(
            "the archive is compressed with {program}, and zstart reads files at their offsets: decompress the \
             archive first, with `{program} -dc FILE > NEW.tar`"
        ))),
        None => Ok(()),
    }
}

/// Name of a layout's file, without `./` in front. `None` for all other names.
fn layout_name(name: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(name).ok()?;
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    match parts[..] {
        // A folder is no file of the layout, and no entry of another kind either.
        _ if name.ends_with('/') => None,
        [file] if [INDEX_FILE, MARKER_FILE, DOCKER_MANIFEST].contains(&file) => Some(file.to_owned()),
        ["blobs", algorithm, hex] => {
            format!("{algorithm}:{hex}").parse::<Digest>().ok().map(|digest| blob_name(&digest))
        }
        _ => None,
    }
}

/// Name of a blob's file.
pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

/// A member of fixed width, up to its first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A number: octal digits between spaces and NULs, or GNU's binary form for numbers of more than 11 digits.
fn number(field: &[u8]) -> Option<u64> {
    match field {
        [0x80, binary @ ..] => binary
            .iter()
            .try_fold(0u64, |number, byte| number.checked_mul(256).map(|number| number | u64::from(*byte))),
        // Other binary numbers are negative or don't fit.
        [first, ..] if first & 0x80 != 0 => None,
        _ => {
            let digits = text(field).trim_ascii();
            digits.iter().try_fold(0u64, |number, byte| {
                let digit = byte.checked_sub(b'0').filter(|digit| *digit < 8)?;
                number.checked_mul(8)?.checked_add(u64::from(digit))
            })
        }
    }
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
pub(super) mod tests;
