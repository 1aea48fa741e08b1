//! GitHub Container Registry.

use http::StatusCode;

use super::behaviour::{
    Behaviour, Blobs, Chunks, ErrorFormat, ExtraTags, GetBlob, HeadBlob, Insufficient, InsufficientChallenge,
    Login, MANIFEST_UNKNOWN, Manifests, Mount, NAME_UNKNOWN, Referrers, SignedFor, SinglePost, Tags,
    TokenLogin, TokenMember, TokenPost, TokenResponse, Uploads,
};
use super::{Anonymous, Fact, NewRepository, Product, Server};

pub(super) static GHCR: Product = Product {
    name: "GitHub Container Registry",
    test: "ghcr_profile_passes_the_suite",
    anonymous: Anonymous::Refused,
    new_repository: NewRepository::Created,
    facts: &[
        Fact {
            says: "refuses a pull token (403) for a package that the first push will create",
            source: "docker/build-push-action#981, docker/build-push-action#200",
        },
        Fact {
            says: "refuses an anonymous pull token (401) for a private package",
            source: "openai/tunnel-client#75",
        },
        Fact {
            says: "refuses an expired password at the token server with 403",
            source: "riverqueue/riverui#182, mccutchen/go-httpbin#223",
        },
        Fact {
            says: "redirects readers of blobs (307) to storage signed for GET only: HEAD there is 403. (The \
                   profile assumes that the registry redirects HEAD too.)",
            source: "containerd/stargz-snapshotter#167",
        },
        Fact { says: "has no API for referrers", source: "tektoncd/chains#1691" },
    ],
    server: Server::Profile(&Behaviour {
        repository: "owner/app",
        new_repository: "owner/fresh",
        name_components: 2,
        login: Login::Token(TokenLogin {
            realm: "{registry}/token",
            service: "{host}",
            answer: &[TokenMember::Token],
            actions: &["pull", "push", "delete", "*"],
            missing_repository: TokenResponse::Refused(StatusCode::FORBIDDEN),
            anonymous: TokenResponse::Refused(StatusCode::UNAUTHORIZED),
            wrong_password: TokenResponse::Refused(StatusCode::FORBIDDEN),
            post: TokenPost::Unknown,
            insufficient: Insufficient {
                status: StatusCode::FORBIDDEN,
                challenge: InsufficientChallenge::None,
            },
        }),
        blobs: Blobs {
            head: HeadBlob::Redirected,
            get: GetBlob::Redirected {
                status: StatusCode::TEMPORARY_REDIRECT,
                signature: "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=300&X-Amz-Signature=0",
                head: SignedFor::Get,
            },
        },
        uploads: Uploads {
            single_post: SinglePost::OpensSession,
            session: "/v2/{name}/blobs/uploads/{id}",
            after_patch: "/v2/{name}/blobs/uploads/{id}",
            patch: StatusCode::ACCEPTED,
            chunks: Chunks::Many,
            mount: Mount::OpensSession,
        },
        manifests: Manifests {
            missing: MANIFEST_UNKNOWN,
            missing_repository: NAME_UNKNOWN,
            invisible_reads: 0,
            immutable: None,
            headers: &[],
        },
        tags: Tags { page: 1, link: "/v2/{name}/tags/list?{query}", extra: ExtraTags::None },
        referrers: Referrers::NotFound,
        errors: ErrorFormat::Json,
    }),
};
