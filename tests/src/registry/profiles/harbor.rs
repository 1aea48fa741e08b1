//! Harbor.

use http::StatusCode;

use super::behaviour::{
    Behaviour, Blobs, Chunks, ErrorFormat, ExtraTags, GetBlob, HeadBlob, Insufficient, InsufficientChallenge,
    Login, Manifests, Missing, Mount, Referrers, SinglePost, Tags, TokenLogin, TokenMember, TokenPost,
    TokenResponse, Uploads,
};
use super::{Anonymous, Fact, NewRepository, Product, Server};

pub(super) static HARBOR: Product = Product {
    name: "Harbor",
    test: "harbor_profile_passes_the_suite",
    anonymous: Anonymous::Refused,
    new_repository: NewRepository::Created,
    facts: &[
        Fact {
            says: "has its token server at `/service/token`, under the service name `harbor-registry`",
            source: "harbor `src/server/middleware/v2auth/auth.go`",
        },
        Fact {
            says: "answers with `token`, an empty `access_token`, `expires_in` and `issued_at`",
            source: "harbor `src/common/models/token.go`, `src/core/service/token/authutils.go`",
        },
        Fact {
            says: "issues a token without rights for a wrong password, and the rights of the project for a \
                   repository that doesn't exist",
            source: "harbor `src/core/service/token/creator.go`",
        },
        Fact {
            says: "challenges a token that lacks the right by `Basic realm=\"harbor\"`, and takes the password",
            source: "harbor `src/server/middleware/v2auth/auth.go`",
        },
        Fact {
            says: "answers 404 `NOT_FOUND` for a tag or repository that doesn't exist",
            source: "harbor `src/lib/errors/const.go`, `src/lib/http/error.go`",
        },
        Fact {
            says: "refuses a push to an existing immutable tag with 412 `PRECONDITION`",
            source: "harbor `src/server/middleware/immutable/pushmf.go`",
        },
        Fact { says: "has the API for referrers", source: "harbor `src/server/registry/referrers.go`" },
    ],
    server: Server::Profile(&Behaviour {
        repository: "project/app",
        new_repository: "project/fresh",
        name_components: 2,
        login: Login::Token(TokenLogin {
            realm: "{registry}/service/token",
            service: "harbor-registry",
            answer: &[
                TokenMember::Token,
                TokenMember::EmptyAccessToken,
                TokenMember::ExpiresIn(1800),
                TokenMember::IssuedAt,
            ],
            actions: &["pull", "push", "delete", "*"],
            missing_repository: TokenResponse::Granted,
            anonymous: TokenResponse::WithoutRights,
            wrong_password: TokenResponse::WithoutRights,
            post: TokenPost::Unknown,
            insufficient: Insufficient {
                status: StatusCode::UNAUTHORIZED,
                challenge: InsufficientChallenge::Basic("Basic realm=\"harbor\""),
            },
        }),
        blobs: Blobs { head: HeadBlob::Served, get: GetBlob::Served },
        uploads: Uploads {
            single_post: SinglePost::OpensSession,
            session: "/v2/{name}/blobs/uploads/{id}?_state={state}",
            after_patch: "/v2/{name}/blobs/uploads/{id}?_state={state}",
            patch: StatusCode::ACCEPTED,
            chunks: Chunks::Many,
            mount: Mount::Linked,
        },
        manifests: Manifests {
            missing: Missing { status: StatusCode::NOT_FOUND, code: "NOT_FOUND" },
            missing_repository: Missing { status: StatusCode::NOT_FOUND, code: "NOT_FOUND" },
            invisible_reads: 0,
            immutable: Some(Missing { status: StatusCode::PRECONDITION_FAILED, code: "PRECONDITION" }),
            headers: &[],
        },
        tags: Tags { page: 1, link: "/v2/{name}/tags/list?{query}", extra: ExtraTags::None },
        referrers: Referrers::Index,
        errors: ErrorFormat::Json,
    }),
};
