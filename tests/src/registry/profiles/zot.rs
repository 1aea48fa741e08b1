//! Zot, with an anonymous policy for other repositories than the suite's. (The Go proxy doesn't serve its
//! module, so the lab can't build it.)

use http::StatusCode;

use super::behaviour::{
    Behaviour, Blobs, Chunks, ErrorFormat, ExtraTags, GetBlob, HeadBlob, Login, MANIFEST_UNKNOWN, Manifests,
    Mount, NAME_UNKNOWN, Ping, Referrers, SinglePost, Tags, Uploads,
};
use super::{Anonymous, Fact, NewRepository, Product, Server};

pub(super) static ZOT: Product = Product {
    name: "Zot",
    test: "zot_profile_passes_the_suite",
    anonymous: Anonymous::Refused,
    new_repository: NewRepository::Created,
    facts: &[
        Fact {
            says: "answers `/v2/` with 200 and `WWW-Authenticate: basic realm=` if an anonymous policy exists, \
                   and challenges the requests that need a login",
            source: "zot `pkg/api/routes.go` (`CheckVersionSupport`), `pkg/api/authn.go`",
        },
        Fact {
            says: "stores a blob that arrives with its POST, and needs `application/octet-stream` (415)",
            source: "zot `pkg/api/routes.go` (`CreateBlobUpload`)",
        },
        Fact {
            says: "names upload sessions by path alone",
            source: "zot `pkg/api/routes.go` (`getBlobUploadSessionLocation`)",
        },
        Fact { says: "has the API for referrers", source: "zot `pkg/api/routes.go` (`GetReferrers`)" },
    ],
    server: Server::Profile(&Behaviour {
        repository: "team/app",
        new_repository: "team/fresh",
        name_components: 1,
        login: Login::Basic {
            ping: Ping::Accepted("basic realm="),
            challenge: "Basic realm=\"Authorization Required\"",
        },
        blobs: Blobs { head: HeadBlob::Served, get: GetBlob::Served },
        uploads: Uploads {
            single_post: SinglePost::Stored,
            session: "/v2/{name}/blobs/uploads/{id}",
            after_patch: "/v2/{name}/blobs/uploads/{id}",
            patch: StatusCode::ACCEPTED,
            chunks: Chunks::Many,
            mount: Mount::Linked,
        },
        manifests: Manifests {
            missing: MANIFEST_UNKNOWN,
            missing_repository: NAME_UNKNOWN,
            invisible_reads: 0,
            immutable: None,
            headers: &[],
        },
        tags: Tags { page: 1, link: "/v2/{name}/tags/list?{query}", extra: ExtraTags::None },
        referrers: Referrers::Index,
        errors: ErrorFormat::Json,
    }),
};
