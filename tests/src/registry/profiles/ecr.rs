//! Amazon ECR, private and public. [`crate::registry::ecr`] is the fake; docs/ecr.md lists more of its ways.

use super::{Anonymous, Fact, NewRepository, Product, Server};
use crate::registry::ecr;

pub(super) static PRIVATE: Product = Product {
    name: "Amazon ECR",
    test: "ecr_profile_passes_the_suite",
    anonymous: Anonymous::Refused,
    new_repository: NewRepository::Refused,
    server: Server::FakeEcr(ecr::PRIVATE),
    facts: &[
        Fact {
            says: "takes the user `AWS` with a password from `GetAuthorizationToken`, by HTTP Basic",
            source: "Amazon ECR User Guide, \"Private registry authentication\"",
        },
        Fact {
            says: "redirects readers of blobs to S3, which answers 400 to requests with another credential",
            source: "Amazon S3 API Reference, \"Authenticating Requests: Using Query Parameters\"",
        },
        Fact { says: "answers PATCH with 201", source: "regclient `scheme/reg/blob.go`" },
        Fact {
            says: "refuses lists of more than 1000 tags (405)",
            source: "go-containerregistry `pkg/v1/remote/options.go`",
        },
        Fact {
            says: "refuses every push to an existing tag if tags are immutable (400 `TAG_INVALID`)",
            source: "moby/buildkit#3776",
        },
        Fact {
            says: "closes the connection on a push to a repository that doesn't exist",
            source: "docs/ecr.md",
        },
    ],
};

pub(super) static PUBLIC: Product = Product {
    name: "Amazon ECR Public",
    test: "ecr_public_profile_passes_the_suite",
    anonymous: Anonymous::Pulls,
    new_repository: NewRepository::Refused,
    server: Server::FakeEcr(ecr::PUBLIC),
    facts: &[
        Fact {
            says: "has a token server at `/token/`, and one scope for everything (`scope=\"aws\"`)",
            source: "helm/helm#12491",
        },
        Fact {
            says: "answers every HEAD of a blob with 401, with a token too",
            source: "aws/containers-roadmap#2671, helm/helm#12491, buildbuddy-io/buildbuddy#12566",
        },
        Fact { says: "serves anonymous clients", source: "aws/containers-roadmap#2671" },
    ],
};
