//! A Docker config with one login, for a process that works on one repository.

use serde_json::{Value, json};
use zstart_core::Reference;

use super::credentials::Credentials;
use super::password::Password;
use super::provider::ProviderError;

impl Credentials {
    /// Text of a Docker config (`config.json`) whose only entry is for the repository of `image`. Credentials that
    /// expire are issued now. The text is a secret.
    pub async fn to_docker_config(&self, image: &Reference) -> Result<String, ProviderError> {
        let entry = match self {
            Self::Anonymous => None,
            Self::Basic(password) => Some(basic(password)),
            Self::IdentityToken(token) => {
                let mut entry = token.password().map_or_else(|| json!({}), basic);
                entry["identitytoken"] = Value::from(token.secret());
                Some(entry)
            }
            Self::Provider(provider) => {
                let issued = provider.0.credentials(None).await?;
                issued.map(|issued| basic(&issued.password))
            }
        };
        let mut auths = serde_json::Map::new();
        auths.extend(entry.map(|entry| (image.name(), entry)));
        Ok(json!({ "auths": auths }).to_string())
    }
}

fn basic(password: &Password) -> Value {
    json!({"username": password.username, "password": password.password})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::DockerConfig;

    #[tokio::test]
    async fn written_login_is_read_for_its_repository_alone() {
        let image: Reference = "registry.example:5000/team/app:v1".parse().unwrap();
        let token = Credentials::identity_token("token");
        for credentials in [Credentials::basic("u:ser", "p\"ass:word"), Credentials::basic("", "word"), token]
        {
            let text = credentials.to_docker_config(&image).await.unwrap();
            let config = DockerConfig::parse(text.as_bytes()).unwrap();
            assert_eq!(config.credentials_for(&image).await.unwrap(), Some(credentials));
            for other in
                ["registry.example:5000/team/apps:v1", "registry.example/team/app", "other.example/app"]
            {
                let other = other.parse().unwrap();
                assert_eq!(config.credentials_for(&other).await.unwrap(), None, "{other}");
            }
        }
        let hub: Reference = "docker.io/library/app:v1".parse().unwrap();
        let credentials = Credentials::basic("user", "word");
        let config =
            DockerConfig::parse(credentials.to_docker_config(&hub).await.unwrap().as_bytes()).unwrap();
        assert_eq!(config.credentials_for(&hub).await.unwrap(), Some(credentials));
    }

    #[tokio::test]
    async fn anonymous_login_is_an_empty_config() {
        let image: Reference = "registry.example/app:v1".parse().unwrap();
        let text = Credentials::Anonymous.to_docker_config(&image).await.unwrap();
        assert_eq!(text, r#"{"auths":{}}"#);
    }

    #[tokio::test]
    async fn password_next_to_an_identity_token_is_kept() {
        let image: Reference = "registry.example/app:v1".parse().unwrap();
        let given = br#"{"auths": {"registry.example": {"identitytoken": "token", "username": "a", "password": "b"}}}"#;
        let read =
            async |text: &[u8]| DockerConfig::parse(text).unwrap().credentials_for(&image).await.unwrap();
        let credentials = read(given).await.unwrap();
        let text = credentials.to_docker_config(&image).await.unwrap();
        assert_eq!(read(text.as_bytes()).await, Some(credentials));
    }
}
