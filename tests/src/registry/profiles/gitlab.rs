//! GitLab's container registry.

use http::StatusCode;

use super::behaviour::{
    Behaviour, Blobs, Chunks, ErrorFormat, ExtraTags, GetBlob, HeadBlob, Insufficient, InsufficientChallenge,
    Login, MANIFEST_UNKNOWN, Manifests, Mount, NAME_UNKNOWN, Referrers, SignedFor, SinglePost, Tags,
    TokenLogin, TokenMember, TokenPost, TokenResponse, Uploads,
};
use super::{Anonymous, Fact, NewRepository, Product, Server};

pub(super) static GITLAB: Product = Product {
    name: "GitLab",
    test: "gitlab_profile_passes_the_suite",
    anonymous: Anonymous::Refused,
    new_repository: NewRepository::Created,
    facts: &[
        Fact {
            says: "has its token server on another host (`gitlab.com/jwt/auth`), under the service name \
                   `container_registry`",
            source: "gitlab-org/container-registry, \"Authentication Flow\"",
        },
        Fact {
            says: "refuses an anonymous token for a private project (403 `DENIED`)",
            source: "gitlab-org/container-registry, \"Authentication Flow\"",
        },
        Fact {
            says: "refuses a wrong password at the token server with 403",
            source: "gitlabhq `app/controllers/jwt_controller.rb` (011a905a)",
        },
        Fact {
            says: "answers with `token` and nothing more, also for a repository that doesn't exist in a project \
                   that does",
            source: "gitlabhq `app/services/auth/container_registry_authentication_service.rb`",
        },
        Fact {
            says: "refuses a mount (401) with a token that may not read the source",
            source: "google/go-containerregistry#220",
        },
        Fact {
            says: "redirects readers of blobs (307) to the storage of the installation",
            source: "gitlab-org/container-registry, \"Authentication Flow\"",
        },
    ],
    server: Server::Profile(&Behaviour {
        repository: "group/project/app",
        new_repository: "group/project/fresh",
        name_components: 2,
        login: Login::Token(TokenLogin {
            realm: "{token}/jwt/auth",
            service: "container_registry",
            answer: &[TokenMember::Token],
            actions: &["pull", "push", "delete", "*"],
            missing_repository: TokenResponse::Granted,
            anonymous: TokenResponse::Refused(StatusCode::FORBIDDEN),
            wrong_password: TokenResponse::Refused(StatusCode::FORBIDDEN),
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
                signature: "Expires=1700000000&GoogleAccessId=lab&Signature=0",
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
            headers: &[],
        },
        tags: Tags { page: 1, link: "/v2/{name}/tags/list?{query}", extra: ExtraTags::None },
        referrers: Referrers::NotFound,
        errors: ErrorFormat::Json,
    }),
};
