//! Requests by kind.

use std::collections::BTreeMap;
use std::fmt;

/// Kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `GET /v2/`.
    Ping,
    /// Any request to a token server.
    Token,
    /// HEAD of a manifest.
    HeadManifest,
    /// GET of a manifest.
    GetManifest,
    /// List of tags.
    Tags,
    /// List of referrers.
    Referrers,
    /// HEAD of a blob, at the registry or its storage.
    HeadBlob,
    /// GET of a blob at the registry.
    GetBlob,
    /// GET of a blob at the registry's storage.
    Storage,
    /// POST that opens an upload, or brings a whole blob.
    Post,
    /// POST that asks for a mount.
    Mount,
    /// PATCH of an upload.
    Patch,
    /// PUT of an upload.
    PutBlob,
    /// PUT of a manifest.
    PutManifest,
    /// DELETE of an upload.
    Cancel,
    /// Anything else.
    Other,
}

impl Kind {
    /// Kinds that write.
    pub const WRITES: [Self; 6] =
        [Self::Post, Self::Mount, Self::Patch, Self::PutBlob, Self::PutManifest, Self::Cancel];

    /// Kind of a recorded request (`METHOD [HOST]/path`).
    pub fn of(call: &str) -> Self {
        let (method, address) = call.split_once(' ').unwrap_or((call, ""));
        let path = address.split_once('?').map_or(address, |(path, _)| path);
        let is_token =
            address.starts_with("token") || path.ends_with("/token/") || path.starts_with("api.ecr");
        if is_token {
            return Self::Token;
        }
        let is_storage = address.starts_with("storage") || address.contains(".s3.");
        match method {
            "GET" if path.ends_with("/v2/") => Self::Ping,
            "HEAD" if path.contains("/manifests/") => Self::HeadManifest,
            "GET" if path.contains("/manifests/") => Self::GetManifest,
            "GET" if path.ends_with("/tags/list") => Self::Tags,
            "GET" if path.contains("/referrers/") => Self::Referrers,
            "HEAD" if path.contains("/blobs/") => Self::HeadBlob,
            "GET" if is_storage => Self::Storage,
            "GET" if path.contains("/blobs/") => Self::GetBlob,
            "POST" if address.contains("mount=") => Self::Mount,
            "POST" if path.contains("uploads/") => Self::Post,
            "PATCH" => Self::Patch,
            "PUT" if path.contains("/manifests/") => Self::PutManifest,
            "PUT" => Self::PutBlob,
            "DELETE" => Self::Cancel,
            _ => Self::Other,
        }
    }
}

/// Numbers of requests by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<Kind, usize>);

impl Counts {
    /// Counts recorded requests.
    pub fn of(calls: &[String]) -> Self {
        let mut counts = BTreeMap::new();
        for call in calls {
            *counts.entry(Kind::of(call)).or_default() += 1;
        }
        Self(counts)
    }

    /// Requests of one kind.
    pub fn get(&self, kind: Kind) -> usize {
        self.0.get(&kind).copied().unwrap_or_default()
    }

    /// Requests that write.
    pub fn writes(&self) -> usize {
        Kind::WRITES.into_iter().map(|kind| self.get(kind)).sum()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: Vec<String> = self.0.iter().map(|(kind, count)| format!("{kind:?} {count}")).collect();
        formatter.write_str(&counts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_the_kind_of_their_method_and_path() {
        for (call, kind) in [
            ("GET /v2/", Kind::Ping),
            ("GET token/v2/token?scope=repository%3Aapp%3Apull", Kind::Token),
            ("GET public.ecr.aws/token/?service=public.ecr.aws", Kind::Token),
            ("POST api.ecr.eu-west-1.amazonaws.com/", Kind::Token),
            ("HEAD /v2/team/app/manifests/v1", Kind::HeadManifest),
            ("GET /v2/app/blobs/sha256:0", Kind::GetBlob),
            ("GET storage/v2/app/blobs/sha256:0?X-Amz-Signature=0", Kind::Storage),
            ("POST /v2/app/blobs/uploads/?mount=sha256%3A0&from=other", Kind::Mount),
            ("POST /v2/app/blobs/uploads/?digest=sha256%3A0", Kind::Post),
            ("PATCH /artifacts-uploads/namespaces/p/repositories/r/uploads/1", Kind::Patch),
            ("PUT /v2/p/r/pkg/blobs/uploads/1?digest=sha256%3A0", Kind::PutBlob),
            ("PUT /v2/app/manifests/v1", Kind::PutManifest),
            ("DELETE /v2/app/blobs/uploads/1", Kind::Cancel),
        ] {
            assert_eq!(Kind::of(call), kind, "{call}");
        }
    }
}
