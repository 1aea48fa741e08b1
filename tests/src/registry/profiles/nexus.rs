//! Sonatype Nexus Repository, with a Docker connector.

use http::StatusCode;

use super::behaviour::{
    Behaviour, Blobs, Chunks, ErrorFormat, ExtraTags, GetBlob, HeadBlob, Login, MANIFEST_UNKNOWN, Manifests,
    Mount, NAME_UNKNOWN, Ping, Referrers, SinglePost, Tags, Uploads,
};
use super::{Anonymous, Fact, NewRepository, Product, Server};

pub(super) static NEXUS: Product = Product {
    name: "Nexus",
    test: "nexus_profile_passes_the_suite",
    anonymous: Anonymous::Refused,
    new_repository: NewRepository::Created,
    facts: &[
        Fact {
            says: "writes its scheme in capitals: `BASIC realm=\"Sonatype Nexus Repository Manager\"`",
            source: "sonatype/nexus-public#921",
        },
        Fact { says: "answers 404 with an HTML page", source: "microsoft/vscode-docker#2778" },
        Fact { says: "lists `null` among the tags", source: "containers/skopeo#2409" },
        Fact {
            says: "names the next page of tags by an address that the connector doesn't serve \
                   (`/repository/…`, 400)",
            source: "sonatype/nexus-public#1011",
        },
    ],
    server: Server::Profile(&Behaviour {
        repository: "app",
        new_repository: "fresh",
        name_components: 1,
        login: Login::Basic {
            ping: Ping::Challenge,
            challenge: "BASIC realm=\"Sonatype Nexus Repository Manager\"",
        },
        blobs: Blobs { head: HeadBlob::Served, get: GetBlob::Served },
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
        tags: Tags {
            page: 2,
            link: "{registry}/repository/docker/v2/{name}/tags/list?{query}",
            extra: ExtraTags::Null,
        },
        referrers: Referrers::NotFound,
        errors: ErrorFormat::Html,
    }),
};
