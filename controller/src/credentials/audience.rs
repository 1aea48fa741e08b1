//! Readers of what a registry showed to credentials.

use std::collections::BTreeSet;

use zstart_registry::auth::Credentials;

use super::Candidates;
use super::pull_secrets::Step;
use crate::demand::Consumer;

/// Maximum number of objects that are read to find further namespaces with a login.
const MAX_SHARING_READS: usize = 32;

/// Namespaces whose events may tell what a registry showed. A tenant can name any image in a pod, and must not learn
/// by that whether an image exists that only the credentials of others can see, or how large it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// The registry shows it without credentials, or it isn't about the image.
    Everyone,
    /// These namespaces have a pull secret with the login that was used.
    Namespaces(BTreeSet<String>),
    /// The controller's own credentials were used. Administrators read the record.
    Administrators,
}

impl Audience {
    /// The consumers whose events may tell.
    pub(crate) fn of(&self, consumers: &[Consumer]) -> Vec<Consumer> {
        let is_included = |consumer: &&Consumer| match self {
            Self::Everyone => true,
            Self::Namespaces(namespaces) => namespaces.contains(&consumer.namespace),
            Self::Administrators => false,
        };
        consumers.iter().filter(is_included).cloned().collect()
    }
}

impl Candidates<'_> {
    /// Position of the last credentials among those that were tried.
    pub(crate) fn position(&self) -> usize {
        self.tried.len().saturating_sub(1)
    }

    /// Namespaces whose events may tell what the registry showed to the credentials at `position`. Reads pull secrets
    /// that weren't needed: clusters copy one pull secret to many namespaces.
    pub(crate) async fn audience(&mut self, position: usize) -> Audience {
        let has_secret = |(of, _): &(usize, String)| *of == position;
        if self.tried.get(position) == Some(&Credentials::Anonymous) {
            return Audience::Everyone;
        }
        if !self.sharing.iter().any(has_secret) {
            return Audience::Administrators;
        }
        let mut reads = 0;
        while reads < MAX_SHARING_READS
            && let Some(step) = self.pull_secrets.step()
        {
            reads += usize::from(!matches!(step, Step::Try(..)));
            let read = match step {
                Step::Try(credentials, (namespace, _)) => {
                    self.note_sharing(&credentials, namespace);
                    Ok(())
                }
                Step::ReadSecret(name) => self.read_secret(name).await,
                Step::ReadAccount(name) => {
                    self.secrets_of(&name).await.map(|secrets| self.pull_secrets.add_secrets(secrets))
                }
            };
            // An event that isn't published is no loss: the record has the facts.
            if read.is_err() {
                break;
            }
        }
        let sharing = self.sharing.iter().filter(|entry| has_secret(entry));
        Audience::Namespaces(sharing.map(|(_, namespace)| namespace.clone()).collect())
    }

    /// Notes a namespace whose pull secret has a login that was tried already.
    pub(super) fn note_sharing(&mut self, credentials: &Credentials, namespace: String) {
        if let Some(position) = self.tried.iter().position(|tried| tried == credentials) {
            self.sharing.push((position, namespace));
        }
    }
}
