//! Artifactory, with repositories by path.

use http::StatusCode;

use super::behaviour::{
    Behaviour, Blobs, Chunks, ErrorFormat, ExtraTags, GetBlob, HeadBlob, Insufficient, InsufficientChallenge,
    Login, Manifests, Missing, Mount, NAME_UNKNOWN, Referrers, SinglePost, Tags, TokenLogin, TokenMember,
    TokenPost, TokenResponse, Uploads,
};
use super::{Anonymous, Fact, NewRepository, Product, Server};

/// cosign#2973: status 403, code `UNAUTHORIZED`.
const FORBIDDEN: Missing = Missing { status: StatusCode::FORBIDDEN, code: "UNAUTHORIZED" };

pub(super) static ARTIFACTORY: Product = Product {
    name: "Artifactory",
    test: "artifactory_profile_passes_the_suite",
    anonymous: Anonymous::Refused,
    new_repository: NewRepository::Created,
    facts: &[
        Fact {
            says: "answers 403 `UNAUTHORIZED` for a tag that doesn't exist",
            source: "sigstore/cosign#2973, google/go-containerregistry#1691",
        },
        Fact {
            says: "answers with `token` and `expires_in` 3600 at `/v2/token`",
            source: "JFrog Help, \"How to troubleshoot Docker problems\"",
        },
        Fact {
            says: "refuses a POST to the token server with 401",
            source: "containerd `core/remotes/docker/authorizer.go`",
        },
        Fact { says: "lists digests among the tags", source: "containers/skopeo#2346" },
        Fact {
            says: "names the next page of tags without the repository's first component",
            source: "RTFACT-18971, renovate `lib/modules/datasource/docker`",
        },
    ],
    server: Server::Profile(&Behaviour {
        repository: "docker-local/app",
        new_repository: "docker-local/fresh",
        name_components: 2,
        login: Login::Token(TokenLogin {
            realm: "{registry}/v2/token",
            service: "{host}",
            answer: &[TokenMember::Token, TokenMember::ExpiresIn(3600)],
            actions: &["pull", "push", "delete", "*"],
            missing_repository: TokenResponse::Granted,
            anonymous: TokenResponse::Refused(StatusCode::UNAUTHORIZED),
            wrong_password: TokenResponse::Refused(StatusCode::UNAUTHORIZED),
            post: TokenPost::Refused(StatusCode::UNAUTHORIZED),
            insufficient: Insufficient {
                status: StatusCode::FORBIDDEN,
                challenge: InsufficientChallenge::None,
            },
        }),
        blobs: Blobs { head: HeadBlob::Served, get: GetBlob::Served },
        uploads: Uploads {
            single_post: SinglePost::OpensSession,
            session: "{registry}/v2/{name}/blobs/uploads/{id}",
            after_patch: "{registry}/v2/{name}/blobs/uploads/{id}",
            patch: StatusCode::ACCEPTED,
            chunks: Chunks::Many,
            mount: Mount::OpensSession,
        },
        manifests: Manifests {
            missing: FORBIDDEN,
            missing_repository: NAME_UNKNOWN,
            invisible_reads: 0,
            immutable: None,
            headers: &[],
        },
        tags: Tags { page: 2, link: "/v2/{last}/tags/list?{query}", extra: ExtraTags::Digest },
        referrers: Referrers::NotFound,
        errors: ErrorFormat::Json,
    }),
};
