//! A service's tokens: one at a time, for all who ask.

use std::fmt;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use aws_smithy_http_client::pool;
use tokio::sync::Mutex;
use zstart_convert::credentials::{IssueError, IssuedPassword, Password, PasswordSource};

use crate::service::{Service, Token};

/// How long nobody is taken for nobody, before somebody is looked for again.
const NOBODY_FOR: Duration = Duration::from_mins(1);

/// The tokens of one service.
pub(crate) struct Tokens {
    service: Service,
    http: pool::Client,
    held: Mutex<Option<Held>>,
}

struct Held {
    password: Option<Password>,
    until: Instant,
}

impl Tokens {
    pub(crate) fn new(service: Service, http: pool::Client) -> Self {
        Self { service, http, held: Mutex::default() }
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tokens").field("service", &self.service).finish_non_exhaustive()
    }
}

#[async_trait]
impl PasswordSource for Tokens {
    async fn password(&self, refused: Option<&Password>) -> Result<Option<IssuedPassword>, IssueError> {
        // Whoever waits here gets what the first one fetched.
        let mut held = self.held.lock().await;
        if let Some(Held { password, until }) = &*held
            && Instant::now() < *until
            && (refused.is_none() || refused != password.as_ref())
        {
            let issued = |password| IssuedPassword { password, until: *until, is_new: false };
            return Ok(password.clone().map(issued));
        }
        let asked = Instant::now();
        let Some(Token { password, life }) = self.service.token(&self.http).await? else {
            *held = Some(Held { password: None, until: asked + NOBODY_FOR });
            return Ok(None);
        };
        // A quarter early: requests that are under way must still end.
        let until = asked + life / 4 * 3;
        *held = Some(Held { password: Some(password.clone()), until });
        Ok(Some(IssuedPassword { password, until, is_new: true }))
    }
}
