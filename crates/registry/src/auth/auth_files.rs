//! Files in which docker, podman and skopeo keep credentials, and the order in which they are read.
//!
//! The order is that of containers/image (`pkg/docker/config/config.go`, containers-auth.json(5)), with one
//! exception: a `DOCKER_CONFIG` that the user set has precedence over podman's files. The first file with
//! credentials for an image decides.

use std::path::{Path, PathBuf};

use tokio::sync::OnceCell;
use zstart_core::Reference;

use super::credentials::Credentials;
use super::credentials_error::CredentialsFileError;
use super::docker_config::DockerConfig;

/// Folders and files that the user's environment names.
#[derive(Clone, Debug, Default)]
pub struct AuthFileLocations {
    /// The only file to read, e.g. `REGISTRY_AUTH_FILE`.
    pub chosen: Option<PathBuf>,
    /// Folder of docker's `config.json`, `DOCKER_CONFIG`. Default: `.docker` in the home folder.
    pub docker_config: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`. Default on Linux: podman's `/run/containers/UID`.
    pub runtime: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`. Default: `.config` in the home folder.
    pub config_home: Option<PathBuf>,
    /// Home folder.
    pub home: Option<PathBuf>,
}

/// Credentials files, read when needed and once.
#[derive(Default)]
pub struct AuthFiles {
    files: Vec<AuthFile>,
}

struct AuthFile {
    path: PathBuf,
    /// Whether the user named the file. Only other files may be missing.
    is_chosen: bool,
    config: OnceCell<DockerConfig>,
}

impl AuthFiles {
    /// The files of an environment. Reads nothing.
    pub fn new(locations: AuthFileLocations) -> Self {
        let is_chosen = locations.chosen.is_some();
        let file = |path| AuthFile { path, is_chosen, config: OnceCell::new() };
        Self { files: paths(locations).into_iter().map(file).collect() }
    }

    /// Returns the most specific credentials of the first file that has some for the image.
    pub async fn credentials_for(
        &self,
        image: &Reference,
    ) -> Result<Option<Credentials>, CredentialsFileError> {
        for file in &self.files {
            let failed = |source| CredentialsFileError::new(&file.path, source);
            let config = file.config.get_or_try_init(async || file.load()).await?;
            if let Some(credentials) = config.credentials_for(image).await.map_err(failed)? {
                tracing::debug!(file = %file.path.display(), registry = image.registry(), "found credentials");
                return Ok(Some(credentials));
            }
        }
        Ok(None)
    }
}

impl AuthFile {
    fn load(&self) -> Result<DockerConfig, CredentialsFileError> {
        match DockerConfig::load(&self.path) {
            Err(error) if !self.is_chosen && error.is_missing() => Ok(DockerConfig::default()),
            result => result,
        }
    }
}

fn paths(locations: AuthFileLocations) -> Vec<PathBuf> {
    let AuthFileLocations { chosen, docker_config, runtime, config_home, home } = locations;
    if let Some(file) = chosen {
        return vec![file];
    }
    // The XDG specification ignores relative paths.
    let absolute = |folder: &PathBuf| folder.is_absolute();
    let below_home = |path: &str| home.as_deref().map(|home| home.join(path));
    let runtime =
        runtime.filter(absolute).map(|folder| folder.join("containers")).or_else(podman_runtime_folder);
    let config_home = config_home.filter(absolute).or_else(|| below_home(".config"));
    let docker_default = if docker_config.is_none() { below_home(".docker") } else { None };
    let config_json = |folder: PathBuf| folder.join("config.json");
    [
        docker_config.map(config_json),
        runtime.map(|folder| folder.join("auth.json")),
        config_home.map(|folder| folder.join("containers").join("auth.json")),
        docker_default.map(config_json),
        below_home(".dockercfg"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Podman's folder without `XDG_RUNTIME_DIR`, e.g. for root.
fn podman_runtime_folder() -> Option<PathBuf> {
    let user = rustix::process::getuid().as_raw();
    cfg!(target_os = "linux").then(|| Path::new("/run/containers").join(user.to_string()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    /// An environment with all files, each with a user of its own for `registry.example`.
    struct Lab {
        folder: tempfile::TempDir,
    }

    const FILES: [&str; 6] = [
        "chosen.json",
        "docker/config.json",
        "run/containers/auth.json",
        "config/containers/auth.json",
        "home/.docker/config.json",
        "home/.dockercfg",
    ];

    impl Lab {
        fn new() -> Self {
            let lab = Self { folder: tempfile::tempdir().unwrap() };
            for file in FILES {
                lab.write(file, &json!({"auths": {"registry.example": {"username": file}}}).to_string());
            }
            lab
        }

        fn path(&self, file: &str) -> PathBuf {
            self.folder.path().join(file)
        }

        fn write(&self, file: &str, text: &str) {
            fs::create_dir_all(self.path(file).parent().unwrap()).unwrap();
            fs::write(self.path(file), text).unwrap();
        }

        /// Locations in which the runtime folder is this lab's.
        fn locations(&self) -> AuthFileLocations {
            AuthFileLocations {
                runtime: Some(self.path("run")),
                config_home: Some(self.path("config")),
                home: Some(self.path("home")),
                ..AuthFileLocations::default()
            }
        }
    }

    async fn user(locations: AuthFileLocations) -> Option<String> {
        let files = AuthFiles::new(locations);
        match files.credentials_for(&"registry.example/app".parse().unwrap()).await.unwrap() {
            Some(Credentials::Basic(password)) => Some(password.username),
            None => None,
            Some(other) => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn first_file_with_credentials_decides() {
        let lab = Lab::new();
        let chosen = AuthFileLocations { chosen: Some(lab.path("chosen.json")), ..lab.locations() };
        assert_eq!(user(chosen).await.as_deref(), Some("chosen.json"));
        let docker = AuthFileLocations { docker_config: Some(lab.path("docker")), ..lab.locations() };
        assert_eq!(user(docker).await.as_deref(), Some("docker/config.json"));
        for file in &FILES[2..] {
            assert_eq!(user(lab.locations()).await.as_deref(), Some(*file));
            // A file for other registries, an empty one, and a missing one don't end the search.
            for text in [r#"{"auths": {"other.example": {"username": "a"}}}"#, ""] {
                lab.write(file, text);
                assert_ne!(user(lab.locations()).await.as_deref(), Some(*file));
            }
            fs::remove_file(lab.path(file)).unwrap();
        }
        assert_eq!(user(lab.locations()).await, None);
    }

    #[test]
    fn folder_of_docker_replaces_its_default() {
        let lab = Lab::new();
        let paths = paths(AuthFileLocations { docker_config: Some("docker".into()), ..lab.locations() });
        let expected = ["run/containers/auth.json", "config/containers/auth.json", "home/.dockercfg"];
        let expected = expected.map(|file| lab.path(file));
        assert_eq!(paths, [&[PathBuf::from("docker/config.json")][..], &expected].concat());
    }

    #[test]
    fn relative_xdg_folders_are_ignored() {
        let relative = AuthFileLocations {
            runtime: Some("run".into()),
            config_home: Some("config".into()),
            home: Some("/home/user".into()),
            ..AuthFileLocations::default()
        };
        let without = AuthFileLocations { home: Some("/home/user".into()), ..AuthFileLocations::default() };
        assert_eq!(paths(relative), paths(without.clone()));
        assert!(paths(without).contains(&"/home/user/.config/containers/auth.json".into()));
    }

    #[tokio::test]
    async fn unreadable_file_is_named() {
        let lab = Lab::new();
        let image = "registry.example/app".parse().unwrap();
        let missing = AuthFileLocations { chosen: Some(lab.path("missing.json")), ..lab.locations() };
        let error = AuthFiles::new(missing).credentials_for(&image).await.unwrap_err();
        assert!(zstart_core::chain(&error).contains("missing.json"), "{error}");

        lab.write("run/containers/auth.json", "{");
        let error = AuthFiles::new(lab.locations()).credentials_for(&image).await.unwrap_err();
        assert!(zstart_core::chain(&error).contains("run/containers/auth.json"), "{error}");
        // A folder in the place of a file.
        fs::remove_file(lab.path("run/containers/auth.json")).unwrap();
        fs::create_dir(lab.path("run/containers/auth.json")).unwrap();
        let error = AuthFiles::new(lab.locations()).credentials_for(&image).await.unwrap_err();
        assert!(zstart_core::chain(&error).contains("run/containers/auth.json"), "{error}");
    }

    #[tokio::test]
    async fn file_is_read_once() {
        let lab = Lab::new();
        let files = AuthFiles::new(lab.locations());
        let image = "registry.example/app".parse().unwrap();
        let first = files.credentials_for(&image).await.unwrap();
        lab.write("run/containers/auth.json", "{");
        assert_eq!(files.credentials_for(&image).await.unwrap(), first);
    }
}
