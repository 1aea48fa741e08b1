//! Registries that redirect requests that write.

use anyhow::Result;
use http::{Method, StatusCode};
use zstart_convert::ErrorClass;
use zstart_tests::images::Fixture;
use zstart_tests::registry::Registry;
use zstart_tests::registry::gateway::{Fault, Gateway, TokenLogin};
use zstart_tests::registry::raw_fault_server::{RawFaultServer, RawResponse, http_response};
use zstart_tests::registry::repository_reader::RepositoryReader;

use crate::conversion::{Conversion, Lab};

/// Two layers that are streamed, one that is sent whole.
fn image() -> Fixture {
    Fixture::new()
        .large_layer("usr/bin/app", 2 << 20)
        .large_layer("usr/lib/lib", 1 << 20)
        .layer(&[("etc/app", b"configuration")])
}

async fn require_variant(registry: &Registry, tag: &str) -> Result<()> {
    let stored = RepositoryReader::new(registry, "app");
    let source = stored.manifest("v1").await?.json;
    stored.require_same_files(&stored.manifest(tag).await?.json, &source).await
}

/// Starts a registry with the image, and a gateway that wants a token.
async fn start_with_login() -> Result<(Registry, Gateway)> {
    let registry = Registry::start().await?;
    image().push(&registry.host(), "app:v1").await?;
    let login = TokenLogin { username: "user".into(), password: "right".into() };
    let gateway = Gateway::start_with(&registry.host(), Some(login)).await?;
    Ok((registry, gateway))
}

const KEEPING: [StatusCode; 2] = [StatusCode::TEMPORARY_REDIRECT, StatusCode::PERMANENT_REDIRECT];
/// Requests that write, by method and part of their path.
const WRITES: [(Method, &str); 4] = [
    (Method::POST, "/blobs/uploads/"),
    (Method::PATCH, "/blobs/uploads/"),
    (Method::PUT, "/blobs/uploads/"),
    (Method::PUT, "/manifests/"),
];

#[tokio::test]
async fn redirected_writes_are_followed_on_the_own_origin() -> Result<()> {
    for status in KEEPING {
        for (method, part) in WRITES {
            // The address that is redirected to needs the token too.
            let (registry, gateway) = start_with_login().await?;
            gateway.fault(method.clone(), "moved=1", Fault::PassThrough);
            gateway.fault(method.clone(), part, Fault::RedirectTo(status, String::new()));
            let conversion = Conversion::of(&format!("{}/app:v1", gateway.host())).login("user", "right");
            let made = conversion.run().await;
            let made = made.unwrap_or_else(|error| panic!("{status} {method} {part}: {}", error.chain()));
            require_variant(&registry, made.tag.as_str()).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn redirected_stream_goes_straight_to_its_new_address() -> Result<()> {
    let lab = Lab::start().await?;
    image().push(&lab.registry.host(), "app:v1").await?;
    lab.gateway.fault(Method::PATCH, "moved=1", Fault::PassThrough);
    let redirect = Fault::RedirectTo(StatusCode::TEMPORARY_REDIRECT, String::new());
    lab.gateway.fault(Method::PATCH, "/blobs/uploads/", redirect);
    lab.conversion("app:v1").run().await?;
    let patches: Vec<String> = lab.writes().into_iter().filter(|call| call.starts_with("PATCH ")).collect();
    let moved = patches.iter().filter(|call| call.ends_with("moved=1")).count();
    assert_eq!(moved, 2, "each streamed layer is sent once: {patches:#?}");
    // Concurrent layers may each have to find out. After that, one empty request goes before each stream.
    assert!((5..=6).contains(&patches.len()), "{patches:#?}");
    Ok(())
}

#[tokio::test]
async fn stream_is_found_behind_two_redirects() -> Result<()> {
    let lab = Lab::start().await?;
    Fixture::new().large_layer("usr/bin/app", 2 << 20).push(&lab.registry.host(), "app:v1").await?;
    let redirect = || Fault::RedirectTo(StatusCode::TEMPORARY_REDIRECT, String::new());
    lab.gateway.fault(Method::PATCH, "moved=1&moved=1", Fault::PassThrough);
    lab.gateway.fault(Method::PATCH, "/blobs/uploads/", redirect());
    let made = lab.conversion("app:v1").run().await?;
    require_variant(&lab.registry, made.tag.as_str()).await
}

#[tokio::test]
async fn redirects_that_end_are_no_longer_looked_for() -> Result<()> {
    let lab = Lab::start().await?;
    image().push(&lab.registry.host(), "app:v1").await?;
    let redirect = Fault::RedirectTo(StatusCode::TEMPORARY_REDIRECT, String::new());
    lab.gateway.fault_times(1, Method::PATCH, "/blobs/uploads/", redirect);
    let made = lab.conversion("app:v1").run().await?;
    require_variant(&lab.registry, made.tag.as_str()).await
}

#[tokio::test]
async fn redirect_to_another_origin_gets_no_credentials() -> Result<()> {
    for (method, part) in WRITES {
        let (registry, gateway) = start_with_login().await?;
        let other = RawFaultServer::start(&registry.host()).await?;
        let origin = format!("http://localhost:{}", other.port());
        gateway.fault(method.clone(), part, Fault::RedirectTo(StatusCode::TEMPORARY_REDIRECT, origin));
        let conversion = Conversion::of(&format!("{}/app:v1", gateway.host())).login("user", "right");
        let made = conversion.run().await;
        let made = made.unwrap_or_else(|error| panic!("{method} {part}: {}", error.chain()));
        require_variant(&registry, made.tag.as_str()).await?;
        let heads = other.request_heads();
        assert!(!heads.is_empty());
        assert!(heads.iter().all(|head| !head.contains("authorization")), "{heads:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn redirected_write_loop_ends_after_five_redirects() -> Result<()> {
    let lab = Lab::start().await?;
    image().push(&lab.registry.host(), "app:v1").await?;
    let redirect = Fault::RedirectTo(StatusCode::PERMANENT_REDIRECT, String::new());
    lab.gateway.fault(Method::PUT, "/manifests/", redirect);
    let error = lab.conversion("app:v1").run().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Other, "{}", error.chain());
    assert!(error.chain().contains("more than 5 redirects"), "{}", error.chain());
    let pushes = lab.writes().into_iter().filter(|call| call.contains("/manifests/")).count();
    assert_eq!(pushes, 6);
    Ok(())
}

#[tokio::test]
async fn redirected_stream_loop_ends_with_the_attempts() -> Result<()> {
    let lab = Lab::start().await?;
    Fixture::new().large_layer("usr/bin/app", 2 << 20).push(&lab.registry.host(), "app:v1").await?;
    let redirect = Fault::RedirectTo(StatusCode::PERMANENT_REDIRECT, String::new());
    lab.gateway.fault(Method::PATCH, "/blobs/uploads/", redirect);
    let error = lab.conversion("app:v1").run().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Unavailable, "{}", error.chain());
    assert!(error.chain().contains("redirected the upload (HTTP 308)"), "{}", error.chain());
    let patches = lab.writes().into_iter().filter(|call| call.starts_with("PATCH ")).count();
    assert_eq!(patches, 1 + 2 + 3);
    Ok(())
}

#[tokio::test]
async fn redirect_that_loses_the_body_is_named() -> Result<()> {
    for status in [StatusCode::MOVED_PERMANENTLY, StatusCode::FOUND, StatusCode::SEE_OTHER] {
        let lab = Lab::start().await?;
        image().push(&lab.registry.host(), "app:v1").await?;
        let redirect = Fault::RedirectTo(status, "https://registry.example".to_owned());
        lab.gateway.fault(Method::POST, "/blobs/uploads/", redirect);
        let error = lab.conversion("app:v1").run().await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Other, "{}", error.chain());
        for text in ["redirects POST with HTTP", "307 or 308", "addressed as https://registry.example"] {
            assert!(error.chain().contains(text), "{}", error.chain());
        }
    }
    Ok(())
}

/// A registry that wants a password with each request, and sends writes to another origin.
struct SteeredLab {
    _registry: Registry,
    server: RawFaultServer,
    other: RawFaultServer,
}

impl SteeredLab {
    async fn start() -> Result<Self> {
        let registry = Registry::start().await?;
        image().push(&registry.host(), "app:v1").await?;
        let server = RawFaultServer::start(&registry.host()).await?;
        let other = RawFaultServer::start(&registry.host()).await?;
        let refusal = ["401 Unauthorized", "WWW-Authenticate: Basic realm=\"lab\"", "Connection: close"];
        server.respond(Method::GET, "/v2/ ", RawResponse::Send(http_response(&refusal, b"")));
        Ok(Self { _registry: registry, server, other })
    }

    /// Redirects writes of this kind to the other origin, which answers them with this status and an address
    /// at the registry.
    fn steer(&self, method: &Method, path_part: &str, status: &str, path: &str) {
        let answer = |status: &str, location: &str| {
            let location = format!("Location: {location}");
            RawResponse::Send(http_response(
                &[status, &location, "Content-Length: 0", "Connection: close"],
                b"",
            ))
        };
        let other = format!("http://localhost:{}{path_part}", self.other.port());
        self.server.respond(method.clone(), path_part, answer("307 Temporary Redirect", &other));
        let target = format!("http://{}{path}", self.server.host());
        self.other.respond(method.clone(), path_part, answer(status, &target));
    }

    /// Converts into another repository, so that layers are mounted, and returns the heads of the requests to
    /// the registry for `path`.
    async fn heads_of(&self, path: &str) -> Vec<String> {
        let conversion = Conversion::of(&format!("{}/app:v1", self.server.host())).login("user", "right");
        let conversion = conversion.into(&format!("{}/copy", self.server.host()));
        // A mount that fails leads to an upload, and the conversion may succeed.
        drop(conversion.run().await);
        assert!(!self.other.request_heads().is_empty());
        let path = path.to_lowercase();
        self.server.request_heads().into_iter().filter(|head| head.contains(&path)).collect()
    }
}

#[tokio::test]
async fn write_returns_from_another_origin_without_credentials() -> Result<()> {
    let lab = SteeredLab::start().await?;
    let path = "/v2/prod/manifests/latest";
    lab.steer(&Method::PUT, "/v2/copy/manifests/", "307 Temporary Redirect", path);
    let heads = lab.heads_of(path).await;
    assert!(!heads.is_empty());
    assert!(heads.iter().all(|head| !head.contains("authorization")), "{heads:#?}");
    Ok(())
}

#[tokio::test]
async fn other_origin_chooses_no_path_of_the_registry() -> Result<()> {
    for path in ["/v2/prod/manifests/latest", "/v2/copy/blobs/uploads/..%2F..%2Fmanifests/latest"] {
        for (method, part) in
            [(Method::POST, "/v2/copy/blobs/uploads/?mount="), (Method::POST, "/v2/copy/blobs/uploads/")]
        {
            let lab = SteeredLab::start().await?;
            lab.steer(&method, part, "202 Accepted", path);
            let heads = lab.heads_of(path).await;
            assert!(heads.is_empty(), "{method} {part}: {heads:#?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn redirected_stream_returns_to_no_other_repository() -> Result<()> {
    let lab = Lab::start().await?;
    image().push(&lab.registry.host(), "app:v1").await?;
    let other = RawFaultServer::start(&lab.registry.host()).await?;
    let origin = format!("http://localhost:{}", other.port());
    let redirect = Fault::RedirectTo(StatusCode::TEMPORARY_REDIRECT, origin);
    lab.gateway.fault(Method::PATCH, "/blobs/uploads/", redirect);
    let location = format!("Location: http://{}/v2/prod/blobs/uploads/1", lab.gateway.host());
    let back = http_response(&["307 Temporary Redirect", &location, "Connection: close"], b"");
    other.respond(Method::PATCH, "/blobs/uploads/", RawResponse::Send(back));
    let error = lab.conversion("app:v1").run().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Unavailable, "{}", error.chain());
    // Empty requests look for the address of the stream, beyond the first redirect too.
    let heads = other.request_heads();
    assert!(heads.iter().any(|head| head.contains("content-length: 0")), "{heads:#?}");
    assert!(!lab.writes().iter().any(|call| call.contains("/v2/prod/")), "{:#?}", lab.writes());
    Ok(())
}
