//! Docker Hub.

use http::StatusCode;

use super::behaviour::{
    Behaviour, Blobs, Chunks, ErrorFormat, ExtraTags, GetBlob, HeadBlob, Insufficient, InsufficientChallenge,
    Login, MANIFEST_UNKNOWN, Manifests, Mount, NAME_UNKNOWN, Referrers, SignedFor, SinglePost, Tags,
    TokenLogin, TokenMember, TokenPost, TokenResponse, Uploads,
};
use super::{Anonymous, Fact, NewRepository, Product, Server};

pub(super) static DOCKER_HUB: Product = Product {
    name: "Docker Hub",
    test: "docker_hub_profile_passes_the_suite",
    anonymous: Anonymous::Refused,
    new_repository: NewRepository::Created,
    facts: &[
        Fact {
            says: "has its token server on another host (`auth.docker.io`), which knows the registry by a name \
                   that isn't its host",
            source: "docker/docs#11660",
        },
        Fact {
            says: "answers with `token`, an equal `access_token`, `expires_in` 300 and `issued_at`",
            source: "xiekeyang/oci-discovery#64",
        },
        Fact {
            says: "issues a token to everyone, also for repositories that don't exist; the registry refuses a pull with it",
            source: "docker/hub-feedback#1771, microsoft/vscode-docker#4379 (`insufficient_scope`)",
        },
        Fact {
            says: "redirects readers of blobs (307) to a CDN, which answers 400 to requests with a token",
            source: "tetratelabs/car#35",
        },
        Fact {
            says: "counts GET of manifests against a limit (`ratelimit-remaining`), and HEAD not",
            source: "Docker documentation, \"Docker Hub pull usage and limits\"",
        },
        Fact { says: "has no API for referrers", source: "docker/roadmap#724" },
    ],
    server: Server::Profile(&Behaviour {
        repository: "team/app",
        new_repository: "team/fresh",
        name_components: 2,
        login: Login::Token(TokenLogin {
            realm: "{token}/token",
            service: "registry.docker.io",
            answer: &[
                TokenMember::Token,
                TokenMember::AccessToken,
                TokenMember::ExpiresIn(300),
                TokenMember::IssuedAt,
            ],
            actions: &["pull", "push", "delete", "*"],
            missing_repository: TokenResponse::WithoutRights,
            anonymous: TokenResponse::WithoutRights,
            wrong_password: TokenResponse::Refused(StatusCode::UNAUTHORIZED),
            post: TokenPost::Unknown,
            insufficient: Insufficient {
                status: StatusCode::UNAUTHORIZED,
                challenge: InsufficientChallenge::InsufficientScope,
            },
        }),
        blobs: Blobs {
            head: HeadBlob::Served,
            get: GetBlob::Redirected {
                status: StatusCode::TEMPORARY_REDIRECT,
                signature: "expires=1700000000&signature=0",
                head: SignedFor::Get,
            },
        },
        uploads: Uploads {
            single_post: SinglePost::OpensSession,
            session: "{registry}/v2/{name}/blobs/uploads/{id}?_state={state}",
            after_patch: "{registry}/v2/{name}/blobs/uploads/{id}?_state={state}",
            patch: StatusCode::ACCEPTED,
            chunks: Chunks::Many,
            mount: Mount::Linked,
        },
        manifests: Manifests {
            missing: MANIFEST_UNKNOWN,
            missing_repository: NAME_UNKNOWN,
            invisible_reads: 0,
            immutable: None,
            headers: &[("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", "99;w=21600")],
        },
        tags: Tags { page: 1, link: "/v2/{name}/tags/list?{query}", extra: ExtraTags::None },
        referrers: Referrers::NotFound,
        errors: ErrorFormat::Json,
    }),
};
