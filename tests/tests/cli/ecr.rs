//! Amazon ECR, tested with a fake: tokens, uploads, tags, host names.

use std::collections::BTreeSet;

use anyhow::Result;
use http::StatusCode;
use serde_json::json;
use zstart_tests::images::{Fixture, Index};
use zstart_tests::registry::Registry;
use zstart_tests::registry::ecr::{ENDPOINTS, FakeEcr, Identity, PRIVATE, PUBLIC};
use zstart_tests::registry::repository_reader::{RepositoryReader, layers, text};

use crate::command::{Finished, Zstart, finish};

/// A registry with the repositories `team/app` and `team/other`, the fake ECR in front of it, and the
/// program.
struct EcrLab {
    registry: Registry,
    ecr: FakeEcr,
    zstart: Zstart,
}

impl EcrLab {
    async fn start() -> Result<Self> {
        let registry = Registry::start().await?;
        let ecr = FakeEcr::start(&registry.host(), &["team/app", "team/other"]).await?;
        Ok(Self { registry, ecr, zstart: Zstart::find()? })
    }

    /// Starts a lab with the image `team/app:v1`.
    async fn with_image() -> Result<Self> {
        let lab = Self::start().await?;
        image().push(&lab.registry.host(), "team/app:v1").await?;
        Ok(lab)
    }

    async fn run(&self, identity: Identity, arguments: &[&str]) -> Result<Finished> {
        let mut command = self.zstart.command(arguments);
        finish(command.envs(self.ecr.environment(&identity)?)).await
    }

    /// Runs the program with the identity in its environment and requires success.
    async fn succeed(&self, arguments: &[&str]) -> Result<Finished> {
        let ended = self.run(Identity::Environment, arguments).await?;
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        Ok(ended)
    }

    async fn fail(&self, identity: Identity, arguments: &[&str], code: i32, said: &[&str]) -> Result<()> {
        let ended = self.run(identity, arguments).await?;
        assert_eq!(ended.code, Some(code), "{ended:#?}");
        for said in said {
            assert!(ended.stderr.contains(said), "{said:?} is missing: {}", ended.stderr);
        }
        Ok(())
    }

    fn stored(&self) -> RepositoryReader {
        RepositoryReader::new(&self.registry, "team/app")
    }

    async fn tags(&self) -> Result<Vec<String>> {
        self.stored().tags().await
    }
}

fn image() -> Fixture {
    Fixture::new().large_layer("usr/bin/app", 6 << 20).layer(&[("etc/app", b"configuration")])
}

fn at(registry: &str, image: &str) -> String {
    format!("{registry}/{image}")
}

#[tokio::test]
async fn variant_in_ecr_is_verified_by_another_client() -> Result<()> {
    let lab = EcrLab::with_image().await?;
    let (source, variant) = (at(PRIVATE, "team/app:v1"), at(PRIVATE, "team/app:v1-zstd"));
    lab.succeed(&["convert", &source, &variant]).await?;
    let ended = lab.succeed(&["verify", &source, &variant]).await?;
    // S3 refuses requests with a registry token.
    assert!(ended.stdout.contains("\nequal: "), "{ended:#?}");
    Ok(())
}

#[tokio::test]
async fn token_is_requested_once_and_not_sent_to_s3() -> Result<()> {
    let lab = EcrLab::with_image().await?;
    lab.succeed(&["convert", &at(PRIVATE, "team/app:v1")]).await?;
    let tags = lab.tags().await?;
    let [source, variant] = &tags[..] else { panic!("{tags:?}") };
    let (source, variant) = (lab.stored().manifest(source).await?, lab.stored().manifest(variant).await?);
    lab.stored().require_same_files(&variant.json, &source.json).await?;
    assert_eq!(lab.ecr.count("POST", "api.ecr."), 1, "{:#?}", lab.ecr.calls());
    // S3 refuses requests with a registry token, so zstart sent none.
    assert!(lab.ecr.count("GET", "s3.eu-west-1") >= 3, "{:#?}", lab.ecr.calls());
    // One layer is uploaded as a single part, which may be smaller than the minimum; the other is sent whole,
    // in its own upload.
    assert_eq!(lab.ecr.count("PATCH", PRIVATE), 1, "{:#?}", lab.ecr.calls());
    let uploads =
        lab.ecr.calls().into_iter().filter(|call| call.starts_with("POST ") && call.contains("/blobs/"));
    assert!(uploads.clone().all(|call| !call.contains("digest=")) && uploads.count() == 2);
    Ok(())
}

#[tokio::test]
async fn requests_share_few_http_2_connections() -> Result<()> {
    let lab = EcrLab::with_image().await?;
    lab.succeed(&["convert", &at(PRIVATE, "team/app:v1")]).await?;
    assert_eq!(lab.ecr.http_versions().into_iter().collect::<Vec<_>>(), ["HTTP/2.0"]);
    let (requests, connections) = (lab.ecr.count("", PRIVATE), lab.ecr.connections(PRIVATE));
    assert!((1..=requests / 3).contains(&connections), "{connections} for {requests} requests");
    Ok(())
}

#[tokio::test]
async fn identities_of_every_source_are_found() -> Result<()> {
    let lab = EcrLab::with_image().await?;
    let image = at(PRIVATE, "team/app:v1");
    for identity in Identity::AUTHENTICATED {
        let ended = lab.run(identity, &["inspect", &image]).await?;
        assert_eq!(ended.code, Some(0), "{identity:?}: {ended:#?}");
        assert!(
            lab.ecr.access_keys().contains(identity.access_key()),
            "{identity:?}: {:?}",
            lab.ecr.access_keys()
        );
    }
    Ok(())
}

#[tokio::test]
async fn docker_config_takes_precedence_over_the_aws_identity() -> Result<()> {
    let lab = EcrLab::with_image().await?;
    let entry = json!({"username": "AWS", "password": "an-old-token"});
    lab.zstart.docker_config(&json!({"auths": {PRIVATE: entry}}))?;
    lab.fail(Identity::Environment, &["inspect", &at(PRIVATE, "team/app:v1")], 4, &["HTTP 401"]).await?;
    assert_eq!(lab.ecr.access_keys(), BTreeSet::new());
    Ok(())
}

#[tokio::test]
async fn tokens_come_from_the_endpoint_of_the_registry_kind() -> Result<()> {
    let lab = EcrLab::with_image().await?;
    for (registry, api) in ENDPOINTS {
        lab.succeed(&["inspect", &at(registry, "team/app:v1")]).await?;
        assert_eq!(lab.ecr.count("POST", api), 1, "{registry}: {:#?}", lab.ecr.calls());
    }
    Ok(())
}

#[tokio::test]
async fn token_expired_during_conversion_is_renewed() -> Result<()> {
    let lab = EcrLab::with_image().await?;
    lab.ecr.expire_tokens_after(5);
    lab.succeed(&["convert", &at(PRIVATE, "team/app:v1")]).await?;
    assert!(lab.ecr.count("POST", "api.ecr.") > 1, "{:#?}", lab.ecr.calls());

    // ECR Public answers an expired token with another status.
    lab.succeed(&["convert", "--force", &at(PUBLIC, "team/app:v1")]).await?;
    assert!(lab.ecr.count("GET", "public.ecr.aws/token/") > 3, "{:#?}", lab.ecr.calls());
    Ok(())
}

#[tokio::test]
async fn token_expired_on_arrival_is_requested_twice_at_most() -> Result<()> {
    let lab = EcrLab::with_image().await?;
    lab.ecr.expire_tokens_after(0);
    let said = ["HTTP 403", "authorization token has expired"];
    lab.fail(Identity::Environment, &["inspect", &at(PRIVATE, "team/app:v1")], 4, &said).await?;
    assert!(lab.ecr.count("POST", "api.ecr.") <= 2, "{:#?}", lab.ecr.calls());
    Ok(())
}

#[tokio::test]
async fn anonymous_access_works_for_ecr_public_only() -> Result<()> {
    let lab = EcrLab::with_image().await?;
    let ended = lab.run(Identity::None, &["inspect", &at(PUBLIC, "team/app:v1")]).await?;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let said = ["no AWS identity", "IRSA", "EKS Pod Identity", "aws configure"];
    lab.fail(Identity::None, &["inspect", &at(PRIVATE, "team/app:v1")], 4, &said).await?;
    assert_eq!(lab.ecr.count("POST", "api.ecr"), 0, "{:#?}", lab.ecr.calls());
    Ok(())
}

#[tokio::test]
async fn missing_ecr_right_is_named_and_throttling_is_retried() -> Result<()> {
    let lab = EcrLab::with_image().await?;
    let (private, public) = (at(PRIVATE, "team/app:v1"), at(PUBLIC, "team/app:v1"));
    let denied = |times| lab.ecr.fail_token_requests(StatusCode::BAD_REQUEST, "AccessDeniedException", times);
    denied(9);
    let said = ["AccessDeniedException", "a policy that allows ecr:GetAuthorizationToken"];
    lab.fail(Identity::Environment, &["inspect", &private], 4, &said).await?;
    let said = ["ecr-public:GetAuthorizationToken and sts:GetServiceBearerToken"];
    lab.fail(Identity::Environment, &["inspect", &public], 4, &said).await?;

    let throttled =
        |times| lab.ecr.fail_token_requests(StatusCode::BAD_REQUEST, "ThrottlingException", times);
    throttled(2);
    lab.succeed(&["inspect", &private]).await?;
    lab.ecr.fail_token_requests(StatusCode::INTERNAL_SERVER_ERROR, "ServerException", 2);
    lab.succeed(&["inspect", &private]).await?;
    throttled(99);
    lab.fail(Identity::Environment, &["inspect", &private], 5, &["ThrottlingException"]).await?;
    Ok(())
}

#[tokio::test]
async fn immutable_tag_conflicts_only_with_another_digest() -> Result<()> {
    let lab = EcrLab::with_image().await?;
    lab.ecr.make_tags_immutable();
    let image = at(PRIVATE, "team/app:v1");
    lab.succeed(&["convert", &image]).await?;
    let made = lab.tags().await?;
    let chosen = at(PRIVATE, &format!("team/app:{}", made[1]));
    // Pushes equal bytes to the tag that has them.
    lab.succeed(&["convert", "--force", &image, &chosen]).await?;
    assert_eq!(lab.ecr.manifest_push_statuses(), [StatusCode::CREATED, StatusCode::BAD_REQUEST]);
    // A derived tag is looked at first.
    lab.succeed(&["convert", "--force", &image]).await?;
    assert_eq!(lab.ecr.manifest_push_statuses().len(), 2);

    let variant = lab.stored().digest(&made[1]).await?;
    let said = ["tags are immutable", "write to another tag", variant.as_str(), "TAG_INVALID"];
    let other = ["convert", "--force", "--level", "1", &*image];
    lab.fail(Identity::Environment, &[&other[..], &[&chosen]].concat(), 8, &said).await?;
    assert_eq!(lab.tags().await?, made);
    lab.succeed(&other).await?;
    assert_eq!(lab.tags().await?.len(), made.len() + 1, "another variant has another name");
    assert_eq!(lab.stored().digest(&made[1]).await?, variant);
    Ok(())
}

#[tokio::test]
async fn missing_repository_error_has_the_create_command() -> Result<()> {
    let lab = EcrLab::with_image().await?;
    let said = [
        "aws ecr create-repository --region eu-west-1 --repository-name team/missing",
        "CREATE_ON_PUSH",
        "upload",
    ];
    let arguments = ["convert", &at(PRIVATE, "team/app:v1"), &at(PRIVATE, "team/missing:v1-zstd")];
    lab.fail(Identity::Environment, &arguments, 1, &said).await?;
    lab.fail(Identity::Environment, &["inspect", &at(PRIVATE, "team/missing:v1")], 3, &["NAME_UNKNOWN"]).await
}

#[tokio::test]
async fn manifest_pushes_stay_within_the_ecr_rate_limit() -> Result<()> {
    let lab = EcrLab::start().await?;
    let mut index = Index::new();
    for number in 0..24 {
        let architecture = format!("cpu{number}");
        let image = Fixture::new().platform("linux", &architecture);
        index = index.image(&image.layer(&[("etc/app", architecture.as_bytes())]))?;
    }
    index.prepare()?.push(&lab.registry.host(), "team/app:v1").await?;
    lab.succeed(&["convert", &at(PRIVATE, "team/app:v1")]).await?;
    assert_eq!(lab.ecr.manifest_push_statuses(), [StatusCode::CREATED; 25]);
    Ok(())
}

#[tokio::test]
async fn forgotten_ecr_upload_is_restarted() -> Result<()> {
    let lab = EcrLab::with_image().await?;
    lab.ecr.forget_next_uploads(2);
    lab.succeed(&["convert", &at(PRIVATE, "team/app:v1")]).await?;
    assert_eq!(lab.ecr.count("POST", "/blobs/uploads/"), 4, "{:#?}", lab.ecr.calls());
    Ok(())
}

#[tokio::test]
async fn layer_is_uploaded_when_ecr_does_not_mount_it() -> Result<()> {
    let lab = EcrLab::with_image().await?;
    lab.succeed(&["convert", &at(PRIVATE, "team/app:v1")]).await?;
    assert_eq!(lab.ecr.count("POST", "mount="), 0, "{:#?}", lab.ecr.calls());
    let made = lab.stored().manifest(&lab.tags().await?[1]).await?.json;

    // Another image with these layers; the layer cache has the results of the first run.
    let source = image().layer(&[("app/version", b"2")]);
    source.push(&lab.registry.host(), "team/other:v1").await?;
    let recording = lab.ecr.record();
    lab.succeed(&["convert", &at(PRIVATE, "team/other:v1")]).await?;
    let calls = recording.calls();
    let uploads = format!("{PRIVATE}/v2/team/other/blobs/uploads/");
    for layer in layers(&made)? {
        let digest = text(&layer["digest"])?.replace(':', "%3A");
        let asked = format!("POST {uploads}?mount={digest}&from=team%2Fapp");
        assert_eq!(calls.iter().filter(|call| **call == asked).count(), 1, "{asked}: {calls:#?}");
    }
    // ECR answered each mount with an upload, so every layer was sent.
    let sent: BTreeSet<&str> = calls.iter().filter_map(|call| Some(call.split_once("digest=")?.1)).collect();
    assert_eq!(sent.len(), 3, "{calls:#?}");
    let stored = RepositoryReader::new(&lab.registry, "team/other");
    let tags = stored.tags().await?;
    let [source, variant] = &tags[..] else { panic!("{tags:?}") };
    let (source, variant) = (stored.manifest(source).await?.json, stored.manifest(variant).await?.json);
    stored.require_same_files(&variant, &source).await?;
    assert_eq!(layers(&variant)?[..2], layers(&made)?[..]);
    Ok(())
}
