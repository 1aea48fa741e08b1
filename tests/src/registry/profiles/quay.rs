//! Quay.

use http::StatusCode;

use super::behaviour::{
    Behaviour, Blobs, Chunks, ErrorFormat, ExtraTags, GetBlob, HeadBlob, Insufficient, InsufficientChallenge,
    Login, MANIFEST_UNKNOWN, Manifests, Missing, Mount, NAME_UNKNOWN, Referrers, SignedFor, SinglePost, Tags,
    TokenLogin, TokenMember, TokenPost, TokenResponse, Uploads,
};
use super::{Anonymous, Fact, NewRepository, Product, Server};

pub(super) static QUAY: Product = Product {
    name: "Quay",
    test: "quay_profile_passes_the_suite",
    anonymous: Anonymous::Refused,
    new_repository: NewRepository::Created,
    facts: &[
        Fact {
            says: "has its token server at `/v2/auth`, and refuses scopes with other actions than pull, push \
                   and `*` (400)",
            source: "quay `endpoints/v2/v2auth.py`",
        },
        Fact {
            says: "issues a pull token without rights for a repository that doesn't exist, to members who may \
                   create repositories; reads are 401",
            source: "quay `endpoints/v2/v2auth.py`, `endpoints/v2/__init__.py`",
        },
        Fact {
            says: "answers HEAD of a blob itself, and redirects GET (302) to its CDN",
            source: "quay `endpoints/v2/blob.py`, rpardini/docker-registry-proxy#26",
        },
        Fact {
            says: "stores a blob that arrives with its POST",
            source: "quay `endpoints/v2/blob.py` (`start_blob_upload`)",
        },
        Fact {
            says: "may answer 404 for a manifest that it accepted just before",
            source: "helm/helm#31348",
        },
        Fact {
            says: "refuses a push to an immutable tag with 409 `TAG_IMMUTABLE`",
            source: "quay `endpoints/v2/errors.py`",
        },
        Fact {
            says: "names the next page of tags by an absolute address",
            source: "quay `endpoints/v2/__init__.py` (`oci_tag_paginate`)",
        },
        Fact { says: "has the API for referrers", source: "quay `endpoints/v2/referrers.py`" },
    ],
    server: Server::Profile(&Behaviour {
        repository: "team/app",
        new_repository: "team/fresh",
        name_components: 2,
        login: Login::Token(TokenLogin {
            realm: "{registry}/v2/auth",
            service: "{host}",
            answer: &[TokenMember::Token],
            actions: &["pull", "push", "*"],
            missing_repository: TokenResponse::WithoutRights,
            anonymous: TokenResponse::WithoutRights,
            wrong_password: TokenResponse::Refused(StatusCode::UNAUTHORIZED),
            post: TokenPost::Unknown,
            insufficient: Insufficient {
                status: StatusCode::UNAUTHORIZED,
                challenge: InsufficientChallenge::Bearer,
            },
        }),
        blobs: Blobs {
            head: HeadBlob::Served,
            get: GetBlob::Redirected {
                status: StatusCode::FOUND,
                signature: "Expires=1700000000&Signature=0&Key-Pair-Id=lab",
                head: SignedFor::GetAndHead,
            },
        },
        uploads: Uploads {
            single_post: SinglePost::Stored,
            session: "{registry}/v2/{name}/blobs/uploads/{id}",
            after_patch: "{registry}/v2/{name}/blobs/uploads/{id}",
            patch: StatusCode::ACCEPTED,
            chunks: Chunks::Many,
            mount: Mount::Linked,
        },
        manifests: Manifests {
            missing: MANIFEST_UNKNOWN,
            missing_repository: NAME_UNKNOWN,
            invisible_reads: 1,
            immutable: Some(Missing { status: StatusCode::CONFLICT, code: "TAG_IMMUTABLE" }),
            headers: &[],
        },
        tags: Tags { page: 1, link: "{registry}/v2/{name}/tags/list?{query}", extra: ExtraTags::None },
        referrers: Referrers::Index,
        errors: ErrorFormat::Json,
    }),
};
