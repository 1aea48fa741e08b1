//! Arguments that say where credentials files are. All come from the command line or the environment.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use zstart_registry::auth::AuthFileLocations;

/// Places of credentials files. An empty value means unset, as for docker.
#[derive(Debug, Args)]
pub(crate) struct AuthFileArguments {
    /// Credentials file in the format of Docker's `config.json`. The file must exist.
    ///
    /// Without it, the first of these files that has credentials for the image's registry is used:
    /// `$DOCKER_CONFIG/config.json`; `containers/auth.json` in `XDG_RUNTIME_DIR` (without the variable:
    /// `/run/containers/UID/auth.json`); `containers/auth.json` in `XDG_CONFIG_HOME` or `~/.config`;
    /// `~/.docker/config.json`, if `DOCKER_CONFIG` is unset; `~/.dockercfg`. If none has, an Amazon ECR
    /// registry gets the AWS identity, and any other registry is asked anonymously.
    #[arg(long, value_name = "FILE", env = "REGISTRY_AUTH_FILE")]
    authfile: Option<OsString>,
    /// Docker's configuration folder.
    #[arg(long, value_name = "FOLDER", env = "DOCKER_CONFIG", hide = true)]
    docker_config: Option<OsString>,
    /// Folder of the user's session.
    #[arg(long, value_name = "FOLDER", env = "XDG_RUNTIME_DIR", hide = true)]
    xdg_runtime_dir: Option<OsString>,
    /// Folder of the user's settings.
    #[arg(long, value_name = "FOLDER", env = "XDG_CONFIG_HOME", hide = true)]
    xdg_config_home: Option<OsString>,
}

impl AuthFileArguments {
    pub(crate) fn locations(&self) -> AuthFileLocations {
        let path =
            |value: &Option<OsString>| value.clone().filter(|value| !value.is_empty()).map(PathBuf::from);
        AuthFileLocations {
            chosen: path(&self.authfile),
            docker_config: path(&self.docker_config),
            runtime: path(&self.xdg_runtime_dir),
            config_home: path(&self.xdg_config_home),
            home: std::env::home_dir().filter(|home| !home.as_os_str().is_empty()),
        }
    }
}
