//! Docker credential helpers: programs named `docker-credential-NAME` that hold the secrets.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use zstart_core::Reference;

use super::credentials::Credentials;
use super::credentials_error::{CredentialsError, HelperError};
use super::helper_process::{self, Output};
use super::members::{first_value, text};
use super::registry_key::servers_of;
use crate::error_response::one_line;

/// Message of a helper that has no credentials for a server (docker-credential-helpers,
/// `credentials/error.go`).
const NOT_FOUND: &str = "credentials not found in native keychain";
/// User name that marks the secret as an identity token.
const IDENTITY_TOKEN: &str = "<token>";

/// A helper, and the setting that names it.
#[derive(Clone)]
pub(super) struct Helper {
    name: String,
    setting: String,
}

impl Helper {
    pub(super) fn new(name: &str, setting: String) -> Self {
        Self { name: name.to_owned(), setting }
    }

    /// Runs the helper for an image's credentials.
    pub(super) async fn credentials(
        &self,
        image: &Reference,
    ) -> Result<Option<Credentials>, CredentialsError> {
        let program = format!("docker-credential-{}", self.name);
        // A path would run a program that is on no PATH.
        let is_path = self.name.contains(['/', '\\', '\0']);
        for server in servers_of(image) {
            let found = match find(&program) {
                _ if is_path => Err(HelperError::Name),
                Some(program) => ask(&program, server).await,
                None => Err(HelperError::NotFound),
            };
            match found {
                Ok(None) => {}
                Ok(credentials) => return Ok(credentials),
                Err(source) => {
                    return Err(CredentialsError::Helper {
                        program: one_line(&program),
                        setting: self.setting.clone(),
                        server: server.to_owned(),
                        source,
                    });
                }
            }
        }
        Ok(None)
    }
}

/// Finds a program in the absolute folders of the `PATH`. An empty or relative entry would run a program of the
/// current folder, which may be a checkout from elsewhere. Go refuses that too (`exec.ErrDot`).
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders = std::env::split_paths(&path).filter(|folder| folder.is_absolute());
    let is_program = |file: &PathBuf| {
        file.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    folders.map(|folder| folder.join(program)).find(is_program)
}

async fn ask(program: &Path, server: &str) -> Result<Option<Credentials>, HelperError> {
    let Output { status, stdout, stderr } = helper_process::run(program, server).await?;
    if status.success() {
        return read_answer(&stdout);
    }
    // Helpers write errors to stdout (docker-credential-helpers, `credentials/credentials.go`). Docker compares
    // the whole text, too: a failure that quotes the message is no answer.
    if stdout.trim_ascii() == NOT_FOUND.as_bytes() {
        return Ok(None);
    }
    let message = [before_object(&stdout), b" ", before_object(&stderr)].concat();
    let message = one_line(&String::from_utf8_lossy(&message));
    let message = if message.is_empty() { message } else { format!(": {message}") };
    Err(HelperError::Failed { status, message })
}

/// The part of a helper's output in front of a JSON object, which could hold a secret.
fn before_object(output: &[u8]) -> &[u8] {
    output.split(|byte| *byte == b'{').next().unwrap_or_default()
}

/// Reads a helper's answer. An empty user and an empty secret mean that the helper has no credentials.
fn read_answer(answer: &[u8]) -> Result<Option<Credentials>, HelperError> {
    let answer = first_value(answer).ok().flatten().ok_or(HelperError::Answer)?;
    let answer = answer.as_object().ok_or(HelperError::Answer)?;
    let member = |name| text(answer, name).map_err(|_| HelperError::Answer);
    Ok(match (member("Username")?, member("Secret")?) {
        (None, None) => None,
        (Some(IDENTITY_TOKEN), secret) => secret.map(Credentials::identity_token),
        (username, secret) => {
            Some(Credentials::basic(username.unwrap_or_default(), secret.unwrap_or_default()))
        }
    })
}

#[cfg(test)]
mod tests {
    use rustix::process::{Pid, Signal, kill_process};
    use tempfile::TempDir;

    use super::*;
    use crate::auth::helper_process::{LIMIT, STDOUT_MAX};

    /// A helper made of shell commands, in a folder of its own.
    struct Script {
        folder: TempDir,
    }

    impl Script {
        fn new(commands: &str) -> Self {
            let script = Self { folder: tempfile::tempdir().unwrap() };
            let (program, staged) = (script.program(), script.folder.path().join("staged"));
            std::fs::write(
                &staged,
                format!("#!/bin/sh\ncd '{}'\n{commands}\n", script.folder.path().display()),
            )
            .unwrap();
            std::fs::set_permissions(&staged, std::fs::Permissions::from_mode(0o755)).unwrap();
            std::fs::rename(staged, program).unwrap();
            script
        }

        fn program(&self) -> PathBuf {
            self.folder.path().join("docker-credential-script")
        }

        fn read(&self, file: &str) -> String {
            std::fs::read_to_string(self.folder.path().join(file)).unwrap_or_default()
        }

        async fn ask(&self) -> Result<Option<Credentials>, HelperError> {
            ask(&self.program(), "registry.example").await
        }
    }

    #[test]
    fn answer_of_any_helper_is_understood() {
        for (answer, credentials) in [
            (r#"{"ServerURL":"a","Username":"foo","Secret":"bar"}"#, Some(Credentials::basic("foo", "bar"))),
            (r#"{"username":"foo","secret":"bar"}"#, Some(Credentials::basic("foo", "bar"))),
            (r#"{"Username":"","Secret":"bar"}"#, Some(Credentials::basic("", "bar"))),
            (r#"{"Username":"foo"}"#, Some(Credentials::basic("foo", ""))),
            (r#"{"Username":"<token>","Secret":"bar"}"#, Some(Credentials::identity_token("bar"))),
            (r#"{"Username":"<token>","Secret":""}"#, None),
            (r#"{"ServerURL":"a","Username":"","Secret":""}"#, None),
            (r#"{"Username":null,"Secret":null}"#, None),
            ("{}\n", None),
        ] {
            assert_eq!(read_answer(answer.as_bytes()).unwrap(), credentials, "{answer}");
        }
        for answer in
            ["", "hunter2", r#""hunter2""#, r#"{"Username":1,"Secret":"hunter2"}"#, r#"{"Secret":"hunter2"#]
        {
            let error = read_answer(answer.as_bytes()).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("hunter2"), "{answer}: {shown}");
        }
    }

    #[tokio::test]
    async fn server_is_the_helpers_whole_input() {
        let script =
            Script::new(r#"echo "$*" > arguments; cat > input; echo '{"Username":"a","Secret":"b"}'"#);
        assert_eq!(script.ask().await.unwrap(), Some(Credentials::basic("a", "b")));
        assert_eq!(
            (script.read("arguments").trim(), script.read("input").as_str()),
            ("get", "registry.example")
        );
    }

    #[tokio::test]
    async fn helper_that_reads_no_input_is_understood() {
        // The input doesn't fit into a pipe, so the write fails for certain.
        let script = Script::new(r#"exec <&-; echo '{"Username":"a","Secret":"b"}'"#);
        let server = "a".repeat(1 << 20);
        let found = ask(&script.program(), &server).await;
        assert_eq!(found.unwrap(), Some(Credentials::basic("a", "b")));
    }

    #[tokio::test]
    async fn unknown_server_has_no_credentials() {
        let script = Script::new(&format!("echo ' {NOT_FOUND}'; echo 'level=info' >&2; exit 1"));
        assert_eq!(script.ask().await.unwrap(), None);
        for message in [format!("locked: {NOT_FOUND}"), format!("{NOT_FOUND}: keychain is locked")] {
            let error = Script::new(&format!("echo '{message}'; exit 1")).ask().await.unwrap_err();
            assert!(error.to_string().contains(&message), "{error}");
        }
    }

    #[tokio::test]
    async fn child_that_keeps_the_output_open_is_not_awaited() {
        let script = Script::new(r#"sleep 1000 & echo $! > child; echo '{"Username":"a","Secret":"b"}'"#);
        let found = script.ask().await;
        let child = script.read("child").trim().parse().ok().and_then(Pid::from_raw).unwrap();
        kill_process(child, Signal::KILL).unwrap();
        assert_eq!(found.unwrap(), Some(Credentials::basic("a", "b")));
    }

    #[tokio::test]
    async fn failure_is_one_short_harmless_line() {
        for (commands, said) in [
            ("echo 'keychain is locked'; exit 3", "keychain is locked"),
            ("printf 'lo\\033[2Jcked\\nnow' >&2; exit 3", "lo\u{fffd}[2Jcked now"),
            ("echo '{\"Secret\":\"hunter2\"}'; exit 3", "3"),
            (
                "echo 'warning: old'; echo '{\"Username\":\"u\",\"Secret\":\"hunter2\"}'; exit 3",
                "warning: old",
            ),
            ("echo 'answer: [{\"Secret\":\"hunter2\"}]' >&2; exit 3", "answer: ["),
            ("yes locked | head -c 1000000 >&2; exit 3", "locked…"),
        ] {
            let error = Script::new(commands).ask().await.unwrap_err().to_string();
            assert!(error.contains("exit status: 3") && error.contains(said), "{commands}: {error}");
            assert!(!error.contains("hunter2") && error.len() < 500, "{commands}: {error}");
        }
    }

    #[tokio::test]
    async fn missing_program_is_not_found() {
        let error = ask("docker-credential-absent".as_ref(), "registry.example").await.unwrap_err();
        assert!(matches!(error, HelperError::NotFound), "{error:?}");
    }

    #[tokio::test]
    async fn helper_with_a_path_is_refused() {
        let script = Script::new("touch started");
        for name in [format!("/../..{}", script.program().display()), "a/b".to_owned(), "a\\b".to_owned()] {
            let helper = Helper::new(&name, "credsStore".to_owned());
            let error = helper.credentials(&"registry.example/app".parse().unwrap()).await.unwrap_err();
            let error = zstart_core::chain(&error);
            assert!(error.contains("credsStore") && error.contains("path separator"), "{error}");
        }
        assert!(!script.folder.path().join("started").exists());
    }

    #[tokio::test]
    async fn helper_that_never_ends_is_stopped_with_its_children() {
        let script = Script::new("sleep 1000 & echo $! > child; echo $$ > parent; wait");
        let pass_time = async {
            while !script.read("parent").ends_with('\n') {
                tokio::task::yield_now().await;
            }
            tokio::time::pause();
            tokio::time::advance(LIMIT).await;
        };
        let (found, ()) = tokio::join!(script.ask(), pass_time);
        let error = found.unwrap_err();
        assert!(matches!(error, HelperError::Timeout { limit } if limit == LIMIT), "{error:?}");
        for id in [script.read("child"), script.read("parent")] {
            while is_running(id.trim()) {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Whether a process exists and has not ended.
    fn is_running(id: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with(['Z', 'X']))
    }

    #[tokio::test]
    async fn endless_answer_is_cut_off() {
        let error = Script::new("yes").ask().await.unwrap_err();
        assert!(matches!(error, HelperError::TooLarge { max } if max == STDOUT_MAX), "{error:?}");
    }
}
