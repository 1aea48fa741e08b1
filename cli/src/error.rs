//! Errors of a command: a message for people, an exit code for scripts.

use std::path::PathBuf;
use std::process::ExitCode;

use thiserror::Error;
use zstart_convert::{Error as ConvertError, ErrorClass};
use zstart_core::Digest;
use zstart_ecr::SetupError;
use zstart_registry::auth::CredentialsError;
use zstart_registry::{ClientError, ConnectionError, LayoutNameError, SelectionError};
use zstart_verify::{ReadErrorKind, VerifyError};

use crate::style::{BAD, paint};

/// Reason for a command's failure.
#[derive(Debug, Error)]
pub(crate) enum CliError {
    /// The engine, a registry or a layout folder failed.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// A credentials file or a credential helper failed.
    #[error("failed to find credentials for {registry} in {}", file.display())]
    Credentials {
        registry: String,
        file: PathBuf,
        #[source]
        source: Box<CredentialsError>,
    },
    /// The HTTP client for registries can't be set up.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The HTTP client for AWS can't be set up.
    #[error(transparent)]
    Aws(#[from] SetupError),
    /// A comparison of two images can't be finished.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// A variant differs from its source.
    #[error("{variant} is not equal to {source_image}: {difference}")]
    NotEqual { source_image: String, variant: String, difference: String },
    /// An archive was given to `zstart verify`.
    #[error(
        "failed to verify {image}: the verifier reads no archives; unpack it, e.g. with tar -C FOLDER -xf FILE, \
         and name oci:FOLDER"
    )]
    VerifyArchive { image: String },
    /// A layout has no such image, or several.
    #[error("failed to select an image of {place}")]
    Selection {
        place: String,
        #[source]
        source: SelectionError,
    },
    /// The target names a digest, which follows from the variant's content.
    #[error(
        "failed to use target {target}: the variant's digest follows from its content and can't be chosen; \
         name a tag, or none"
    )]
    TargetDigest { target: String },
    /// The target is a name in a layout that has no tag.
    #[error("failed to use target {target}: zstart writes names with a tag only")]
    TargetName {
        target: String,
        #[source]
        source: LayoutNameError,
    },
    /// The target is an archive.
    #[error(
        "failed to use target {target}: zstart reads archives and writes none; name a folder, e.g. oci:FOLDER:v1, \
         and pack the folder afterwards with `skopeo copy oci:FOLDER:v1 oci-archive:FILE`"
    )]
    TargetArchive { target: String },
    /// The source is an archive, and no target was named.
    #[error(
        "failed to choose a target: zstart reads the archive {archive} and can't write the variant there; name a \
         target, e.g. oci:FOLDER or registry.example/app"
    )]
    SourceArchive { archive: String },
    /// Source and target are one tag.
    #[error(
        "failed to use target {target}: source and target are one image, and zstart never changes a source; name \
         another tag, or leave the target out"
    )]
    TargetIsSource { target: String },
    /// The target's tag names the source image, perhaps in another spelling of the source's place.
    #[error(
        "failed to use target {target}: its tag names the source image {digest}, and zstart never replaces a \
         source; name another tag, or none"
    )]
    TargetHoldsSource { target: String, digest: Digest },
    /// The target's tag was chosen by the user, and the registry refuses to show it.
    #[error(
        "failed to look for an image at target {target}: the registry refuses to show it, and a push could \
         replace it; leave out the target's tag, or push without looking with --force"
    )]
    TargetUnreadable {
        target: String,
        #[source]
        source: Box<zstart_registry::RegistryError>,
    },
    /// A cluster can't be reached, or refuses a request.
    #[error(transparent)]
    Cluster(#[from] crate::cluster::ClusterError),
    /// The cluster has no webhook of zstart.
    #[error(
        "zstart isn't installed in this cluster: no webhook configuration has the webhook pods.zstart.dev"
    )]
    NotInstalled,
    /// The arguments name no pod.
    #[error("failed to read {given:?}: name a pod as `pod NAME` or `pod/NAME`")]
    PodName { given: String },
    /// The cluster has no such pod.
    #[error("pod {name} doesn't exist in namespace {namespace}; name another namespace with -n")]
    NoPod { name: String, namespace: String },
    /// The cluster has no such namespace.
    #[error("namespace {namespace} doesn't exist; name another one with -n")]
    NoNamespace { namespace: String },
    /// The cluster has no namespace that an argument names.
    #[error("namespace {namespace} doesn't exist; no namespace was changed")]
    NoSuchNamespace { namespace: String },
    /// The webhook never sees pods of the namespace.
    #[error(
        "namespace {namespace} can't be enabled: the namespaceSelector of the webhook configuration {configuration} \
         excludes it (the chart's value webhook.excludedNamespaces, kube-system, and zstart's own namespace); no \
         namespace was changed"
    )]
    ExcludedNamespace { namespace: String, configuration: String },
    /// A source has no record.
    #[error(
        "zstart has no record of {sources}: the controller makes one when a workload in an opted-in namespace names \
         the image; kubectl get imgconv lists the records"
    )]
    NoRecord { sources: String },
    /// The cluster has no records at all.
    #[error(
        "the cluster doesn't know imageconversions.zstart.dev: zstart isn't installed there; name another cluster \
         with --context"
    )]
    NoRecordKind,
    /// RBAC or the admission policy protects the records.
    #[error(
        "you may not change record {record}: ask an administrator of the cluster, or to be listed in the chart's \
         value records.writers with the right to patch imageconversions.zstart.dev"
    )]
    MayNotWriteRecords {
        record: String,
        #[source]
        source: Box<kube::Error>,
    },
    /// `zstart check` found something that doesn't work.
    #[error("{failed} of {all} checks failed; the lines below each ✗ say what to do")]
    ChecksFailed { failed: usize, all: usize },
    /// A manifest can't be read.
    #[error("failed to read the manifest {file}")]
    ReadManifest {
        file: String,
        #[source]
        source: std::io::Error,
    },
    /// A manifest holds no pod.
    #[error("failed to find a pod in the manifest {file}: {problem}")]
    Manifest { file: String, problem: String },
    /// Man pages can't be written.
    #[error("failed to write man pages to the folder {}; does it exist?", folder.display())]
    WriteMan {
        folder: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// A file can't be rewritten, or `zstart rewrite --check` found an image to replace.
    #[error(transparent)]
    Rewrite(#[from] crate::rewrite::RewriteError),
    /// Stdout can't be written.
    #[error("failed to write the result to stdout")]
    Print {
        #[source]
        source: std::io::Error,
    },
    /// A result can't be serialized.
    #[error("failed to serialize {object}")]
    Serialize {
        object: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The async runtime doesn't start.
    #[error("failed to start the async runtime")]
    Runtime {
        #[source]
        source: std::io::Error,
    },
    /// Signal handlers can't be installed.
    #[error("failed to install the handlers of stop signals")]
    Signals {
        #[source]
        source: std::io::Error,
    },
    /// A signal ended the command, e.g. Ctrl-C.
    #[error(
        "stopped by a signal; a conversion writes its tag last, so no partial variant was left: run the \
         command again to finish"
    )]
    Stopped,
}

impl CliError {
    /// Prints the message, its chain of causes and a hint.
    #[expect(clippy::print_stderr, reason = "this is the command line's error message")]
    pub(crate) fn report(&self) {
        anstream::eprintln!("{} {self}", paint(BAD, "error:"));
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            eprintln!("  caused by: {error}");
            cause = error.source();
        }
        if let Some(server) = ConnectionError::find(self).and_then(ConnectionError::plain_http_server) {
            eprintln!("  hint: if you trust the network, add --plain-http {server}");
        }
    }

    /// Exit code, as listed in `--help`.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Convert(error) => match error.class() {
                ErrorClass::NotFound => 3,
                ErrorClass::PullDenied | ErrorClass::PushDenied => 4,
                ErrorClass::Unavailable | ErrorClass::RateLimited { .. } => 5,
                ErrorClass::ContentMismatch | ErrorClass::NotVerified => 6,
                ErrorClass::Refused => 7,
                ErrorClass::SourceMoved | ErrorClass::VariantConflict => 8,
                ErrorClass::Other => 1,
            },
            Self::Verify(VerifyError::Read { side: _, source }) => match source.kind {
                ReadErrorKind::NotFound => 3,
                ReadErrorKind::Denied => 4,
                ReadErrorKind::Unavailable => 5,
                ReadErrorKind::Content => 6,
                ReadErrorKind::Other => 1,
            },
            Self::Verify(VerifyError::Content { .. }) | Self::NotEqual { .. } => 6,
            Self::Verify(VerifyError::Unsupported { .. }) => 7,
            Self::Selection { place: _, source } if source.is_not_found() => 3,
            Self::Verify(VerifyError::NoPlatform { .. })
            | Self::VerifyArchive { .. }
            | Self::Selection { .. }
            | Self::TargetName { .. }
            | Self::TargetArchive { .. }
            | Self::SourceArchive { .. }
            | Self::TargetDigest { .. }
            | Self::TargetIsSource { .. }
            | Self::TargetHoldsSource { .. }
            | Self::PodName { .. }
            | Self::Manifest { .. } => 2,
            Self::NoPod { .. }
            | Self::NoNamespace { .. }
            | Self::NoSuchNamespace { .. }
            | Self::NotInstalled
            | Self::NoRecord { .. }
            | Self::NoRecordKind => 3,
            Self::TargetUnreadable { .. } => 4,
            Self::Rewrite(error) => error.exit_code(),
            Self::Stopped => 130,
            Self::Credentials { .. }
            | Self::Client(_)
            | Self::Aws(_)
            | Self::Cluster(_)
            | Self::MayNotWriteRecords { .. }
            | Self::ExcludedNamespace { .. }
            | Self::ChecksFailed { .. }
            | Self::ReadManifest { .. }
            | Self::WriteMan { .. }
            | Self::Print { .. }
            | Self::Serialize { .. }
            | Self::Runtime { .. }
            | Self::Signals { .. } => 1,
        })
    }
}

impl From<zstart_registry::RegistryError> for CliError {
    fn from(error: zstart_registry::RegistryError) -> Self {
        Self::Convert(error.into())
    }
}
