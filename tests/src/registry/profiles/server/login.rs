//! Token servers, and the rights of requests.

use std::collections::HashMap;

use axum::body::to_bytes;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use serde_json::{Map, Value, json};

use super::super::behaviour::{
    InsufficientChallenge, Login, Ping, TokenLogin, TokenMember, TokenPost, TokenResponse,
};
use super::super::{IDENTITY_TOKEN, PASSWORD, USERNAME};
use super::{Origins, ServerState, query_pairs};

/// Largest form that a token server reads, in bytes.
const FORM_MAX: usize = 64 * 1024;

/// Right that a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Pull,
    Push,
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
        }
    }
}

/// Client, as far as its credentials tell.
enum Client {
    Anonymous,
    User,
    /// A token without these credentials: its scopes.
    Token(Scopes),
    /// Wrong credentials.
    Unknown,
}

/// Actions by repository.
type Scopes = HashMap<String, Vec<String>>;

/// Tokens issued so far.
#[derive(Default)]
pub(super) struct Tokens {
    issued: HashMap<String, Scopes>,
}

impl ServerState {
    /// Requires the right for each of the repositories. The error is the response that refuses.
    pub(super) fn require(
        &self,
        headers: &HeaderMap,
        needed: &[(&str, Action)],
    ) -> Result<(), Box<Response>> {
        let client = self.client(headers);
        match (&self.behaviour.login, client) {
            (_, Client::User) => Ok(()),
            (Login::Token(_), Client::Token(scopes)) => {
                let has = |(repository, action): &(&str, Action)| {
                    scopes.get(*repository).is_some_and(|actions| {
                        actions.iter().any(|allowed| allowed == action.name() || allowed == "*")
                    })
                };
                if needed.iter().all(has) {
                    return Ok(());
                }
                Err(Box::new(self.insufficient(needed)))
            }
            (_, Client::Anonymous | Client::Unknown | Client::Token(_)) => {
                Err(Box::new(self.unauthorized(headers, needed)))
            }
        }
    }

    /// Answers `GET /v2/`.
    pub(super) fn ping(&self, headers: &HeaderMap) -> Response {
        let accepted = || (StatusCode::OK, axum::Json(json!({}))).into_response();
        match (&self.behaviour.login, self.client(headers)) {
            (_, Client::User | Client::Token(_)) => accepted(),
            (Login::Basic { ping: Ping::Accepted(challenge), .. }, Client::Anonymous) => {
                with_challenge(accepted(), challenge)
            }
            (Login::Basic { .. } | Login::Token(_), Client::Anonymous | Client::Unknown) => {
                self.unauthorized(headers, &[])
            }
        }
    }

    fn client(&self, headers: &HeaderMap) -> Client {
        let Some(value) = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()) else {
            return Client::Anonymous;
        };
        if let Some(token) = value.strip_prefix("Bearer ") {
            let known = self.tokens().issued.get(token).cloned();
            return known.map_or(Client::Unknown, Client::Token);
        }
        if !self.accepts_basic() {
            self.violation("the registry got a password, which only the token server takes");
            return Client::Unknown;
        }
        if is_user(value) { Client::User } else { Client::Unknown }
    }

    fn accepts_basic(&self) -> bool {
        match &self.behaviour.login {
            Login::Basic { .. } => true,
            Login::Token(login) => matches!(login.insufficient.challenge, InsufficientChallenge::Basic(_)),
        }
    }

    /// 401 with the challenge for these rights.
    fn unauthorized(&self, headers: &HeaderMap, needed: &[(&str, Action)]) -> Response {
        let response = self.error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "authentication required");
        match &self.behaviour.login {
            Login::Basic { challenge, .. } => with_challenge(response, challenge),
            Login::Token(login) => match login.insufficient.challenge {
                InsufficientChallenge::Basic(basic) if headers.contains_key(AUTHORIZATION) => {
                    with_challenge(response, basic)
                }
                _ => with_challenge(response, &bearer(login, &self.origins, needed)),
            },
        }
    }

    fn insufficient(&self, needed: &[(&str, Action)]) -> Response {
        let Login::Token(login) = &self.behaviour.login else {
            return self.error(StatusCode::FORBIDDEN, "DENIED", "access denied");
        };
        let status = login.insufficient.status;
        let code = if status == StatusCode::UNAUTHORIZED { "UNAUTHORIZED" } else { "DENIED" };
        let response = self.error(status, code, "requested access to the resource is denied");
        let challenge = bearer(login, &self.origins, needed);
        match login.insufficient.challenge {
            InsufficientChallenge::None => response,
            InsufficientChallenge::Bearer => with_challenge(response, &challenge),
            InsufficientChallenge::InsufficientScope => {
                with_challenge(response, &format!("{challenge},error=\"insufficient_scope\""))
            }
            InsufficientChallenge::Basic(challenge) => with_challenge(response, challenge),
        }
    }

    /// Answers a request to the token server.
    pub(super) async fn token(&self, login: &TokenLogin, request: Request) -> Response {
        let authorization = header_text(request.headers(), &AUTHORIZATION).map(ToOwned::to_owned);
        if authorization.as_ref().is_some_and(|value| !value.starts_with("Basic ")) {
            self.violation("the token server got a token");
        }
        let is_post = request.method() == Method::POST;
        let query = request.uri().query().unwrap_or_default().to_owned();
        let body = to_bytes(request.into_body(), FORM_MAX).await.unwrap_or_default();
        let pairs = if is_post { query_pairs(&String::from_utf8_lossy(&body)) } else { query_pairs(&query) };
        let value = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        if value("service") != Some(&self.origins.fill(login.service)) {
            self.violation("the token server got another service than the challenge names");
        }
        let is_user = if is_post {
            let is_identity_token = value("grant_type") == Some("refresh_token")
                && value("refresh_token") == Some(IDENTITY_TOKEN);
            match login.post {
                TokenPost::Unknown => return self.denied(StatusCode::METHOD_NOT_ALLOWED),
                TokenPost::IdentityToken(_) if is_identity_token => true,
                TokenPost::Refused(status) | TokenPost::IdentityToken(status) => return self.denied(status),
            }
        } else {
            authorization.as_deref().is_some_and(is_user)
        };
        if authorization.is_some() && !is_user {
            match login.wrong_password {
                TokenResponse::Refused(status) => return self.denied(status),
                TokenResponse::WithoutRights | TokenResponse::Granted => {
                    return self.issue(login, Scopes::new());
                }
            }
        }
        let scopes = pairs.iter().filter(|(key, _)| key == "scope").flat_map(|(_, value)| value.split(' '));
        match self.grant(login, is_user, scopes) {
            Ok(granted) => self.issue(login, granted),
            Err(refused) => *refused,
        }
    }

    /// The rights that a token server grants.
    fn grant<'a>(
        &self,
        login: &TokenLogin,
        is_user: bool,
        scopes: impl Iterator<Item = &'a str>,
    ) -> Result<Scopes, Box<Response>> {
        let mut granted = Scopes::new();
        for scope in scopes {
            let Some((name, actions)) = parse_scope(scope, login.actions) else {
                let message = "unable to decode the scope";
                return Err(Box::new(self.error(StatusCode::BAD_REQUEST, "INVALID_REQUEST", message)));
            };
            let pulls_only = actions.iter().all(|action| action == "pull");
            let response = match (is_user, self.exists(name)) {
                (false, _) => login.anonymous,
                (true, false) if pulls_only => login.missing_repository,
                (true, _) => TokenResponse::Granted,
            };
            match response {
                TokenResponse::Refused(status) => return Err(Box::new(self.denied(status))),
                TokenResponse::WithoutRights => {}
                TokenResponse::Granted => {
                    granted.insert(name.to_owned(), actions);
                }
            }
        }
        Ok(granted)
    }

    fn denied(&self, status: StatusCode) -> Response {
        let code = if status == StatusCode::UNAUTHORIZED { "UNAUTHORIZED" } else { "DENIED" };
        self.error(status, code, "access forbidden")
    }

    fn issue(&self, login: &TokenLogin, scopes: Scopes) -> Response {
        let mut tokens = self.tokens();
        let token = format!("token-{}", tokens.issued.len());
        tokens.issued.insert(token.clone(), scopes);
        let mut body = Map::new();
        for member in login.answer {
            let (name, value) = match member {
                TokenMember::Token => ("token", json!(token)),
                TokenMember::AccessToken => ("access_token", json!(token)),
                TokenMember::EmptyAccessToken => ("access_token", json!("")),
                TokenMember::ExpiresIn(seconds) => ("expires_in", json!(seconds)),
                TokenMember::IssuedAt => ("issued_at", json!("2026-01-01T00:00:00Z")),
            };
            body.insert(name.to_owned(), value);
        }
        axum::Json(Value::Object(body)).into_response()
    }
}

/// Repository and actions of a scope whose actions are all `allowed`.
fn parse_scope<'a>(scope: &'a str, allowed: &[&str]) -> Option<(&'a str, Vec<String>)> {
    let (name, actions) = scope.strip_prefix("repository:")?.rsplit_once(':')?;
    let actions: Vec<String> = actions.split(',').map(ToOwned::to_owned).collect();
    actions.iter().all(|action| allowed.contains(&&**action)).then_some((name, actions))
}

fn header_text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The challenge of a token login. `/v2/` names no scope.
fn bearer(login: &TokenLogin, origins: &Origins, needed: &[(&str, Action)]) -> String {
    let (realm, service) = (origins.fill(login.realm), origins.fill(login.service));
    let mut challenge = format!("Bearer realm=\"{realm}\",service=\"{service}\"");
    let scope = |(name, action): &(&str, Action)| match action {
        Action::Pull => format!("repository:{name}:pull"),
        Action::Push => format!("repository:{name}:pull,push"),
    };
    let scopes: Vec<String> = needed.iter().map(scope).collect();
    if !scopes.is_empty() {
        challenge.push_str(",scope=\"");
        challenge.push_str(&scopes.join(" "));
        challenge.push('"');
    }
    challenge
}

fn with_challenge(mut response: Response, challenge: &str) -> Response {
    if let Ok(value) = challenge.parse() {
        response.headers_mut().insert(WWW_AUTHENTICATE, value);
    }
    response
}

fn is_user(authorization: &str) -> bool {
    authorization == format!("Basic {}", STANDARD.encode(format!("{USERNAME}:{PASSWORD}")))
}
