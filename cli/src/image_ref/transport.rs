//! Places that other tools know and zstart doesn't: refused by name, without a request.
//!
//! The names are those of containers/image (`transports/alltransports`, `docs/containers-transports.5.md`),
//! and notations of layouts of BuildKit and regclient.

use std::fmt;

use thiserror::Error;

/// A place that zstart doesn't read.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) struct UnsupportedTransport {
    text: String,
    transport: &'static str,
    instead: Instead,
}

/// Advice for the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Instead {
    /// skopeo copies from there.
    Copy,
    /// The same layout in zstart's notation.
    Folder,
    /// The same image in a registry.
    Registry,
}

const UNSUPPORTED: [(&str, Instead); 12] = [
    ("docker-archive", Instead::Copy),
    ("docker-daemon", Instead::Copy),
    ("containers-storage", Instead::Copy),
    ("dir", Instead::Copy),
    ("sif", Instead::Copy),
    ("tarball", Instead::Copy),
    // Newer versions of containers/image know the name, and read nothing.
    ("ostree", Instead::Registry),
    ("atomic", Instead::Registry),
    ("docker-image", Instead::Registry),
    ("oci-layout", Instead::Folder),
    ("oci-dir", Instead::Folder),
    ("ocidir", Instead::Folder),
];

/// Refuses a text that starts with the transport of another place. `docker:dind` and `registry:2` are images
/// on Docker Hub, so only words that name no well-known image are transports.
pub(super) fn require_supported(text: &str) -> Result<(), UnsupportedTransport> {
    let Some((front, rest)) = text.split_once(':') else { return Ok(()) };
    let Some((transport, instead)) = UNSUPPORTED.into_iter().find(|(name, _)| *name == front) else {
        return Ok(());
    };
    // `dir:5000/app` is an image of the registry `dir:5000`.
    let is_port = rest
        .split_once('/')
        .is_some_and(|(port, _)| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    if is_port { Ok(()) } else { Err(UnsupportedTransport { text: text.to_owned(), transport, instead }) }
}

impl fmt::Display for UnsupportedTransport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, transport, instead } = self;
        write!(formatter, "{text:?} is a place of the transport {transport}:, which zstart can't read; ")?;
        match instead {
            Instead::Copy => {
                write!(
                    formatter,
                    "copy the image first with `skopeo copy {text} oci:FOLDER`, and name oci:FOLDER"
                )
            }
            Instead::Folder => write!(formatter, "write oci:FOLDER, oci:FOLDER:NAME or oci:FOLDER@DIGEST"),
            Instead::Registry => write!(formatter, "write docker://REGISTRY/REPOSITORY:TAG"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transports_of_other_tools_are_refused_by_name() {
        for (text, said) in [
            ("docker-archive:app.tar", "`skopeo copy docker-archive:app.tar oci:FOLDER`"),
            ("docker-archive:/tmp/app.tar:app:v1", "transport docker-archive:"),
            ("docker-daemon:app:v1", "`skopeo copy docker-daemon:app:v1 oci:FOLDER`"),
            ("containers-storage:localhost/app", "`skopeo copy containers-storage:localhost/app oci:FOLDER`"),
            ("dir:/tmp/app", "transport dir:"),
            ("dir:app", "transport dir:"),
            ("dir:1000", "transport dir:"),
            ("sif:app.sif", "transport sif:"),
            ("tarball:root.tar", "transport tarball:"),
            ("ostree:app@/repo", "docker://REGISTRY"),
            ("atomic:app/stream:v1", "docker://REGISTRY"),
            ("docker-image://app:v1", "docker://REGISTRY"),
            ("oci-layout:///folder", "write oci:FOLDER"),
            ("ocidir://folder:v1", "write oci:FOLDER"),
            ("oci-dir:folder", "write oci:FOLDER"),
        ] {
            let error = require_supported(text).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn hosts_and_images_named_like_transports_are_references() {
        for text in ["dir:5000/app:v1", "tarball:443/team/app", "dir", "dir/app:v1", "docker:dind", "sift:v1"]
        {
            assert_eq!(require_supported(text), Ok(()), "{text}");
        }
    }
}
