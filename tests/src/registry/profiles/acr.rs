//! Azure Container Registry.

use http::StatusCode;

use super::behaviour::{
    Behaviour, Blobs, Chunks, ErrorFormat, ExtraTags, GetBlob, HeadBlob, Insufficient, InsufficientChallenge,
    Login, MANIFEST_UNKNOWN, Manifests, Mount, NAME_UNKNOWN, Referrers, SignedFor, SinglePost, Tags,
    TokenLogin, TokenMember, TokenPost, TokenResponse, Uploads,
};
use super::{Anonymous, Fact, NewRepository, Product, Server};

pub(super) static ACR: Product = Product {
    name: "Azure Container Registry",
    test: "acr_profile_passes_the_suite",
    anonymous: Anonymous::Refused,
    new_repository: NewRepository::Created,
    facts: &[
        Fact {
            says: "has its token server at `/oauth2/token`, and answers with `access_token` alone",
            source: "Azure/acr `docs/AAD-OAuth.md`, Azure/acr#207, camallo/dkregistry-rs#262",
        },
        Fact {
            says: "refuses a POST with a password to the token server with 400, and takes one with the identity \
                   token that `az acr login` stores",
            source: "containerd `core/remotes/docker/authorizer.go`, Azure/acr `docs/AAD-OAuth.md`",
        },
        Fact {
            says: "redirects readers of blobs to Azure's storage, which refuses requests with a token",
            source: "Azure/acr#217",
        },
        Fact {
            says: "names upload sessions by path, with state in the query (`_nouploadcache`, `_state`)",
            source: "azure-sdk-for-go `sdk/containers/azcontainerregistry`",
        },
        Fact { says: "has the API for referrers", source: "aquasecurity/trivy-plugin-referrer#26" },
    ],
    server: Server::Profile(&Behaviour {
        repository: "team/app",
        new_repository: "team/fresh",
        name_components: 1,
        login: Login::Token(TokenLogin {
            realm: "{registry}/oauth2/token",
            service: "{host}",
            answer: &[TokenMember::AccessToken],
            actions: &["pull", "push", "delete", "*"],
            missing_repository: TokenResponse::Granted,
            anonymous: TokenResponse::Refused(StatusCode::UNAUTHORIZED),
            wrong_password: TokenResponse::Refused(StatusCode::UNAUTHORIZED),
            post: TokenPost::IdentityToken(StatusCode::BAD_REQUEST),
            insufficient: Insufficient {
                status: StatusCode::UNAUTHORIZED,
                challenge: InsufficientChallenge::InsufficientScope,
            },
        }),
        blobs: Blobs {
            head: HeadBlob::Served,
            get: GetBlob::Redirected {
                status: StatusCode::TEMPORARY_REDIRECT,
                signature: "se=2026-01-01T00%3A00%3A00Z&sig=0&sp=r&sr=b&sv=2018-03-28",
                head: SignedFor::GetAndHead,
            },
        },
        uploads: Uploads {
            single_post: SinglePost::OpensSession,
            session: "/v2/{name}/blobs/uploads/{id}?_nouploadcache=false&_state={state}",
            after_patch: "/v2/{name}/blobs/uploads/{id}?_nouploadcache=false&_state={state}",
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
