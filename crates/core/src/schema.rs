//! Schemas of Kubernetes' own types in zstart's resources. k8s-openapi's feature `schemars` has them too, for each of
//! its 600 types, which take twelve seconds to compile.
#![expect(dead_code, reason = "schemas are made of the types, never of values")]

use schemars::JsonSchema;

/// Time in RFC 3339.
#[derive(JsonSchema)]
#[schemars(extend("format" = "date-time"))]
pub(crate) struct Time(String);

/// State of one aspect of the resource.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Condition {
    /// Time of the last change of `status`.
    last_transition_time: Time,
    /// Explanation for people. May be empty.
    message: String,
    /// Generation of the resource that the condition describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    observed_generation: Option<i64>,
    /// Explanation for programs, in CamelCase.
    reason: String,
    /// `True`, `False` or `Unknown`.
    status: String,
    /// Aspect, in CamelCase.
    #[serde(rename = "type")]
    type_: String,
}
