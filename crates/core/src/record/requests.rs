//! Requests of users to the controller, as annotations of a record.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::keys;

/// Requests of users. Each is the value of an annotation, and a new value is a new request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Requests {
    /// Value of `zstart.dev/retry`: a look in full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<String>,
    /// Value of `zstart.dev/reconvert`: a variant of the current settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconvert: Option<String>,
}

impl Requests {
    /// The requests on a record.
    pub fn of(record: &ObjectMeta) -> Self {
        let value = |key| record.annotations.as_ref()?.get(key).cloned();
        Self { retry: value(keys::RETRY), reconvert: value(keys::RECONVERT) }
    }

    /// Returns the requests, or `None` if there are none.
    pub fn into_some(self) -> Option<Self> {
        Some(self).filter(|requests| *requests != Self::default())
    }
}
