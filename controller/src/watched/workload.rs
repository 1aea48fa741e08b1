//! Objects that create pods from a template.

use std::borrow::Cow;
use std::fmt::Debug;
use std::marker::PhantomData;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::Resource;
use kube::core::{NamespaceResourceScope, ObjectMeta};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::metadata;
use super::pod_spec::SpecMembers;
use crate::demand::{Kind, Revision};

/// Kind of object with a pod template.
pub trait TemplateOwner:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Send + 'static
{
    /// Kind of the object.
    const KIND: Kind;
}

impl TemplateOwner for Deployment {
    const KIND: Kind = Kind::Deployment;
}

impl TemplateOwner for StatefulSet {
    const KIND: Kind = Kind::StatefulSet;
}

impl TemplateOwner for DaemonSet {
    const KIND: Kind = Kind::DaemonSet;
}

impl TemplateOwner for Job {
    const KIND: Kind = Kind::Job;
}

impl TemplateOwner for CronJob {
    const KIND: Kind = Kind::CronJob;
}

/// Object of kind `K`, reduced.
#[derive(Clone, Debug)]
pub struct WatchedWorkload<K> {
    pub(crate) metadata: ObjectMeta,
    /// Template of the pods, reduced.
    pub(crate) template: Option<PodTemplateSpec>,
    /// Version of the whole template, as the API server writes it. Another version of the API server may write
    /// another text, which costs one look at each source.
    pub(crate) revision: Option<Revision>,
    /// The object is a Job whose pods have all ended.
    pub(crate) is_finished: bool,
    kind: PhantomData<fn() -> K>,
}

#[derive(Deserialize)]
struct Members {
    #[serde(deserialize_with = "metadata::deserialize")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: SpecificationMembers,
    #[serde(default)]
    status: StatusMembers,
}

/// Specification of any kind: a CronJob has its template one level deeper.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SpecificationMembers {
    template: Option<Box<RawValue>>,
    job_template: JobTemplateMembers,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct JobTemplateMembers {
    spec: JobSpecificationMembers,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct JobSpecificationMembers {
    template: Option<Box<RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StatusMembers {
    conditions: Option<Vec<ConditionMembers>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ConditionMembers {
    #[serde(rename = "type")]
    type_: String,
    status: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TemplateMembers {
    #[serde(deserialize_with = "metadata::deserialize")]
    metadata: ObjectMeta,
    spec: Option<SpecMembers>,
}

impl<'de, K: TemplateOwner> Deserialize<'de> for WatchedWorkload<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Members { metadata, spec, status } = Members::deserialize(deserializer)?;
        let template = spec.template.or(spec.job_template.spec.template);
        // The conditions of a Job that ended (`batch/v1`, `JobConditionType`).
        let is_end = |condition: &ConditionMembers| {
            matches!(&*condition.type_, "Complete" | "Failed") && condition.status == "True"
        };
        let is_finished = K::KIND == Kind::Job && status.conditions.iter().flatten().any(is_end);
        Ok(Self {
            metadata,
            revision: template.as_ref().map(|template| Revision::of(template.get())),
            template: template.map(|template| parse(&template)).transpose().map_err(D::Error::custom)?,
            is_finished,
            kind: PhantomData,
        })
    }
}

fn parse(template: &RawValue) -> serde_json::Result<PodTemplateSpec> {
    let TemplateMembers { metadata, spec } = serde_json::from_str(template.get())?;
    Ok(PodTemplateSpec { metadata: Some(metadata), spec: spec.map(Into::into) })
}

impl<K: TemplateOwner> Resource for WatchedWorkload<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
