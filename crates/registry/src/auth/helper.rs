//! Docker credential helpers: programs named `docker-credential-NAME` that hold the secrets.

use std::process::Stdio;

use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::credentials::Credentials;
use super::credentials_error::CredentialsError;

/// Message of a helper that has no credentials for a server (docker-credential-helpers,
/// `credentials/error.go`).
const NOT_FOUND: &str = "credentials not found in native keychain";
/// User name that marks the secret as an identity token.
const IDENTITY_TOKEN: &str = "<token>";

#[derive(Deserialize)]
struct Output {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// Runs the helper for a server's credentials.
pub(super) async fn get(name: &str, server: &str) -> Result<Option<Credentials>, CredentialsError> {
    let program = format!("docker-credential-{name}");
    let failed = |message: String| CredentialsError::Helper {
        program: program.clone(),
        registry: server.to_owned(),
        message,
    };
    let output = run(&program, server).await.map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let message = [output.stdout, output.stderr].concat();
        let message = String::from_utf8_lossy(&message).trim().to_owned();
        return if message.contains(NOT_FOUND) { Ok(None) } else { Err(failed(message)) };
    }
    // The output is a secret: no part of it goes into a message.
    let found: Output =
        serde_json::from_slice(&output.stdout).map_err(|_| failed("output is not credentials".to_owned()))?;
    if found.username == IDENTITY_TOKEN {
        return Err(CredentialsError::IdentityToken { registry: server.to_owned() });
    }
    Ok(Some(Credentials::basic(found.username, found.secret)))
}

async fn run(program: &str, server: &str) -> std::io::Result<std::process::Output> {
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(server.as_bytes()).await?;
    }
    child.wait_with_output().await
}
