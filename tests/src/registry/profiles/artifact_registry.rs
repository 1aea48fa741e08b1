//! Google Artifact Registry.

use http::StatusCode;

use super::behaviour::{
    Behaviour, Blobs, Chunks, ErrorFormat, ExtraTags, GetBlob, HeadBlob, Insufficient, InsufficientChallenge,
    Login, MANIFEST_UNKNOWN, Manifests, Mount, NAME_UNKNOWN, Referrers, SignedFor, SinglePost, Tags,
    TokenLogin, TokenMember, TokenPost, TokenResponse, Uploads,
};
use super::{Anonymous, Fact, NewRepository, Product, Server};

pub(super) static ARTIFACT_REGISTRY: Product = Product {
    name: "Google Artifact Registry",
    test: "artifact_registry_profile_passes_the_suite",
    anonymous: Anonymous::Refused,
    new_repository: NewRepository::Created,
    facts: &[
        Fact {
            says: "has its token server at `/v2/token`, under the service name of its host",
            source: "oras-project/oras#157",
        },
        Fact {
            says: "refuses a POST to the token server with 404",
            source: "containerd `core/remotes/docker/authorizer.go` (of its predecessor)",
        },
        Fact {
            says: "opens upload sessions outside `/v2/` (`/artifacts-uploads/…`), and names another path after \
                   PATCH",
            source: "gitpod-io/gitpod#10214, containerd/containerd#1318 (of its predecessor)",
        },
        Fact {
            says: "takes one chunk in an upload, and answers another one with 405",
            source: "Google Cloud, \"Artifact Registry Docker API\", dotnet/sdk-container-builds#287",
        },
        Fact {
            says: "needs three components in a name (400 `NAME_INVALID`)",
            source: "docker/build-push-action#171",
        },
        Fact { says: "had no API for referrers in 2024", source: "actions/attest-build-provenance#80" },
    ],
    server: Server::Profile(&Behaviour {
        repository: "project/repository/app",
        new_repository: "project/repository/fresh",
        name_components: 3,
        login: Login::Token(TokenLogin {
            realm: "{registry}/v2/token",
            service: "{host}",
            answer: &[TokenMember::Token],
            actions: &["pull", "push", "delete", "*"],
            missing_repository: TokenResponse::Granted,
            anonymous: TokenResponse::Refused(StatusCode::FORBIDDEN),
            wrong_password: TokenResponse::Refused(StatusCode::UNAUTHORIZED),
            post: TokenPost::Refused(StatusCode::NOT_FOUND),
            insufficient: Insufficient {
                status: StatusCode::FORBIDDEN,
                challenge: InsufficientChallenge::None,
            },
        }),
        blobs: Blobs {
            head: HeadBlob::Served,
            get: GetBlob::Redirected {
                status: StatusCode::FOUND,
                signature: "upload_id=0&X-Goog-Signature=0",
                head: SignedFor::Get,
            },
        },
        uploads: Uploads {
            single_post: SinglePost::OpensSession,
            session: "/artifacts-uploads/namespaces/project/repositories/repository/uploads/{id}",
            after_patch: "/v2/project/repository/pkg/blobs/uploads/{id}",
            patch: StatusCode::ACCEPTED,
            chunks: Chunks::One,
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
