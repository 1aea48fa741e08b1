//! Files that are visible only when they are complete: written to a temporary file and renamed.

use std::io;
use std::path::Path;

use sha2::{Digest as _, Sha256, Sha512};
use tempfile::{NamedTempFile, TempPath};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use zstart_core::Digest;
use zstart_core::digest::Algorithm;

use super::files::READ_CHUNK;

/// A file under construction, with the hash of its bytes. Dropped, it is deleted.
pub(super) struct PartialFile {
    file: File,
    path: TempPath,
    hash: Sha256,
}

impl PartialFile {
    /// A temporary file in the folder of `path`.
    pub(super) fn next_to(path: &Path) -> io::Result<Self> {
        let parent = path.parent().unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        builder.prefix(".zstart-");
        // The default of 0600 would keep other users from reading the layout.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
        let (file, path) = builder.tempfile_in(parent).map(NamedTempFile::into_parts)?;
        Ok(Self { file: File::from_std(file), path, hash: Sha256::new() })
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.file.write_all(bytes).await
    }

    /// Waits until all written bytes are on the disk.
    pub(super) async fn sync(&mut self) -> io::Result<()> {
        sync(&mut self.file).await
    }

    /// Digest of the written bytes.
    pub(super) async fn digest(&self, algorithm: Algorithm) -> io::Result<Digest> {
        match algorithm {
            Algorithm::Sha256 => Ok(Digest::from_sha256(self.hash.clone().finalize().into())),
            // Rare, so the file is read again rather than every blob hashed twice.
            Algorithm::Sha512 => sha512_of(&self.path).await,
        }
    }

    /// Gives the file its name.
    pub(super) fn persist(self, path: &Path) -> io::Result<()> {
        self.path.persist(path).map_err(|error| error.error)
    }
}

/// Writes a whole file.
pub(super) async fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = PartialFile::next_to(path)?;
    file.write(bytes).await?;
    file.sync().await?;
    file.persist(path)
}

async fn sync(file: &mut File) -> io::Result<()> {
    // tokio writes in the background. `flush` reports how that went, `sync_all` doesn't.
    file.flush().await?;
    file.sync_all().await
}

async fn sha512_of(path: &Path) -> io::Result<Digest> {
    let mut file = File::open(path).await?;
    let (mut hash, mut buffer) = (Sha512::new(), vec![0; READ_CHUNK]);
    loop {
        match file.read(&mut buffer).await? {
            0 => return Ok(Digest::from_sha512(hash.finalize().into())),
            count => hash.update(&buffer[..count]),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn full_disk_is_reported_for_the_last_bytes() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut file = File::from_std(full);
        file.write_all(b"the last bytes").await.unwrap();
        assert_eq!(sync(&mut file).await.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
