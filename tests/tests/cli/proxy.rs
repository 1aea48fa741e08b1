//! Proxies that the environment names.

use anyhow::Result;
use serde_json::json;
use zstart_tests::images::Fixture;
use zstart_tests::ports::free_ports;
use zstart_tests::proxy::Proxy;
use zstart_tests::registry::{Login, Registry};

use crate::command::{Finished, Zstart, finish};

const PASSWORD: &str = "correct-horse";

async fn inspect(zstart: &Zstart, image: &str, variables: &[(&str, &str)]) -> Result<Finished> {
    finish(zstart.command(&["inspect", image]).envs(variables.iter().copied())).await
}

#[tokio::test]
async fn loopback_registry_with_a_password_uses_no_proxy() -> Result<()> {
    let zstart = Zstart::find()?;
    let login = Login::Basic { username: "user".into(), password: PASSWORD.into() };
    let registry = Registry::start_with(login).await?;
    let proxy = Proxy::start(&[], registry.host()).await?;
    for host in ["127.0.0.1", "localhost", "registry.localhost", "127.1", "2130706433", "0x7f.1"] {
        let host = format!("{host}:{}", registry.port());
        zstart.docker_config(&json!({"auths": {(&*host): {"username": "user", "password": PASSWORD}}}))?;
        for (variable, value) in [
            ("HTTP_PROXY", proxy.address()),
            ("http_proxy", proxy.address()),
            ("ALL_PROXY", proxy.address()),
            ("all_proxy", proxy.address()),
            ("ALL_PROXY", "socks5://127.0.0.1:1"),
        ] {
            let ended = inspect(&zstart, &format!("{host}/app:v1"), &[(variable, value)]).await?;
            // The registry accepts the login and holds no image.
            assert_eq!(ended.code, Some(3), "{host} {variable}: {ended:#?}");
        }
    }
    assert_eq!(proxy.requests(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn no_proxy_reaches_the_registry_itself() -> Result<()> {
    let zstart = Zstart::find()?;
    let proxy = Proxy::start(&[], "127.0.0.1:1").await?;
    // An address that no packet reaches: the policy refuses it before a connection, a proxy would get it.
    let image = "169.254.1.2:5000/app:v1";
    for (no_proxy, is_proxied) in [
        ("", true),
        ("registry.example, 169.254.1.3,169.254.1.2:443", true),
        ("*", false),
        (" registry.example ,169.254.0.0/16,", false),
        ("169.254.1.2:5000", false),
    ] {
        for variable in ["NO_PROXY", "no_proxy"] {
            let before = proxy.requests().len();
            let variables = [("HTTPS_PROXY", proxy.address()), (variable, no_proxy)];
            let ended = inspect(&zstart, image, &variables).await?;
            assert_eq!(proxy.requests().len() > before, is_proxied, "{variable}={no_proxy}: {ended:#?}");
            assert_eq!(ended.stderr.contains("zstart never connects there"), !is_proxied, "{ended:#?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn proxy_login_is_sent_and_never_printed() -> Result<()> {
    let zstart = Zstart::find()?;
    let registry = Registry::start_tls("registry.example").await?;
    Fixture::new()
        .layer(&[("etc/app", b"configuration")])
        .prepare()?
        .write(&zstart.folder().join("app"), "v1")
        .await?;
    let proxy =
        Proxy::start_with_login("registry.example", registry.host(), "user:correct horse@battery").await?;
    let address = proxy.address().trim_start_matches("http://");
    let authority = registry.authority().display().to_string();
    for (login, code, said) in [
        ("user:correct%20horse%40battery@", 0, ""),
        ("user:another-secret@", 1, "wants a login"),
        ("", 1, "wants a login"),
    ] {
        let before = proxy.requests().len();
        let value = format!("http://{login}{address}");
        let mut command =
            zstart.command(&["--log", "trace", "convert", &zstart.oci("app:v1"), "registry.example/app:v1"]);
        let ended = finish(command.env("HTTPS_PROXY", &value).env("SSL_CERT_FILE", &authority)).await?;
        assert_eq!(ended.code, Some(code), "{ended:#?}");
        // The same login is refused again.
        assert!(code == 0 || proxy.requests().len() == before + 1, "{:?}", proxy.requests());
        let proxy_name = format!("proxy http://{address} {said}");
        assert!(said.is_empty() || ended.stderr.contains(&proxy_name), "{ended:#?}");
        // Percent-encoded, plain, and as HTTP Basic.
        for secret in ["correct", "another-secret", "dXNlcjpj", "dXNlcjph"] {
            assert!(!ended.stderr.contains(secret), "{secret}: {ended:#?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn proxy_that_fails_is_named() -> Result<()> {
    let zstart = Zstart::find()?;
    let [port] = free_ports()?;
    let unreachable = format!("http://user:{PASSWORD}@127.0.0.1:{port}");
    let unknown = format!("http://user:{PASSWORD}@proxy.invalid:3128");
    let refusing = Proxy::start_refusing("403 Forbidden").await?;
    let broken = Proxy::start_refusing("502 Bad Gateway").await?;
    for (proxy, said) in [
        (&*unreachable, format!("proxy http://127.0.0.1:{port} can't be reached")),
        (&unknown, "proxy http://proxy.invalid:3128 can't be reached".to_owned()),
        (
            refusing.address(),
            format!("proxy {} opened no connection to registry.example", refusing.address()),
        ),
        (broken.address(), format!("proxy {} opened no connection to registry.example", broken.address())),
        (&format!("socks5://user:{PASSWORD}@127.0.0.1:1"), "HTTPS_PROXY names no usable proxy".to_owned()),
    ] {
        let ended = inspect(&zstart, "registry.example/app:v1", &[("HTTPS_PROXY", proxy)]).await?;
        assert!(ended.code.is_some_and(|code| code != 0), "{ended:#?}");
        assert!(ended.stderr.contains(&said), "{said}: {ended:#?}");
        assert!(!ended.stderr.contains(PASSWORD), "{ended:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn plain_http_proxy_that_wants_a_login_is_explained() -> Result<()> {
    let zstart = Zstart::find()?;
    let registry = "registry.example:5000";
    let proxy = Proxy::start_with_login("registry.example", "127.0.0.1:1", "user:password").await?;
    let with_login = proxy.address().replace("http://", "http://user:password@");
    // The proxy knows no such registry, which shows after the login only.
    for (proxy, code, said) in
        [(proxy.address(), 1, "HTTP 407 the proxy wants a login"), (&with_login, 5, "HTTP 502")]
    {
        let mut command =
            zstart.command(&["inspect", "registry.example:5000/app:v1", "--plain-http", registry]);
        let ended = finish(command.env("HTTP_PROXY", proxy)).await?;
        assert_eq!(ended.code, Some(code), "{ended:#?}");
        assert!(ended.stderr.contains(said), "{ended:#?}");
    }
    assert!(
        proxy.requests()[0].starts_with("GET http://registry.example:5000/v2/"),
        "{:?}",
        proxy.requests()
    );
    Ok(())
}
