//! The endpoint of a request to a registry, by its path.

/// Endpoint of the distribution specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint<'a> {
    /// `/v2/`.
    Base,
    /// Tag or digest.
    Manifest(&'a str),
    /// Digest.
    Blob(&'a str),
    Upload,
    Tags,
    /// Digest of the subject.
    Referrers(&'a str),
    Other,
}

/// Splits a path into repository and endpoint.
pub(super) fn parse(path: &str) -> (&str, Endpoint<'_>) {
    let Some(rest) = path.strip_prefix("/v2/") else { return ("", Endpoint::Other) };
    if rest.is_empty() {
        ("", Endpoint::Base)
    } else if let Some((repository, reference)) = rest.rsplit_once("/manifests/") {
        (repository, Endpoint::Manifest(reference))
    } else if let Some((repository, _)) = rest.split_once("/blobs/uploads/") {
        (repository, Endpoint::Upload)
    } else if let Some((repository, digest)) = rest.rsplit_once("/blobs/") {
        (repository, Endpoint::Blob(digest))
    } else if let Some(repository) = rest.strip_suffix("/tags/list") {
        (repository, Endpoint::Tags)
    } else if let Some((repository, digest)) = rest.rsplit_once("/referrers/") {
        (repository, Endpoint::Referrers(digest))
    } else {
        (rest, Endpoint::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_into_repository_and_endpoint() {
        for (path, repository, endpoint) in [
            ("/v2/", "", Endpoint::Base),
            ("/v2/team/app/manifests/v1", "team/app", Endpoint::Manifest("v1")),
            ("/v2/app/blobs/sha256:0", "app", Endpoint::Blob("sha256:0")),
            ("/v2/app/blobs/uploads/", "app", Endpoint::Upload),
            ("/v2/app/blobs/uploads/7", "app", Endpoint::Upload),
            ("/v2/team/app/tags/list", "team/app", Endpoint::Tags),
            ("/v2/app/referrers/sha256:0", "app", Endpoint::Referrers("sha256:0")),
            ("/token", "", Endpoint::Other),
        ] {
            assert_eq!(parse(path), (repository, endpoint), "{path}");
        }
    }
}
