//! Pod specification, reduced.

use k8s_openapi::api::core::v1::{
    Container, EphemeralContainer, ImageVolumeSource, LocalObjectReference, PodSpec, Volume,
};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Members of a pod specification that the controller reads.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SpecMembers {
    node_name: Option<String>,
    scheduler_name: Option<String>,
    service_account_name: Option<String>,
    image_pull_secrets: Option<Vec<LocalObjectReference>>,
    init_containers: Option<Vec<ContainerMembers>>,
    containers: Option<Vec<ContainerMembers>>,
    ephemeral_containers: Option<Vec<ContainerMembers>>,
    volumes: Option<Vec<VolumeMembers>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerMembers {
    name: String,
    image: Option<String>,
    image_pull_policy: Option<String>,
    restart_policy: Option<String>,
    // A template's hash needs these: `zstart_core::owner_hold::template_of`.
    command: Option<Vec<String>>,
    args: Option<Vec<String>>,
    /// Text, because the types of variables are large.
    env: Option<Box<RawValue>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct VolumeMembers {
    name: String,
    image: Option<ImageVolumeSource>,
}

impl From<SpecMembers> for PodSpec {
    fn from(members: SpecMembers) -> Self {
        let list =
            |containers: Option<Vec<ContainerMembers>>| containers.into_iter().flatten().map(Container::from);
        let ephemeral = |container: ContainerMembers| EphemeralContainer {
            name: container.name,
            image: container.image,
            image_pull_policy: container.image_pull_policy,
            ..EphemeralContainer::default()
        };
        let volume = |VolumeMembers { name, image }| Volume { name, image, ..Volume::default() };
        Self {
            node_name: members.node_name,
            scheduler_name: members.scheduler_name,
            service_account_name: members.service_account_name,
            image_pull_secrets: members.image_pull_secrets,
            init_containers: members.init_containers.map(|containers| list(Some(containers)).collect()),
            containers: list(members.containers).collect(),
            ephemeral_containers: members
                .ephemeral_containers
                .map(|containers| containers.into_iter().map(ephemeral).collect()),
            volumes: members.volumes.map(|volumes| volumes.into_iter().map(volume).collect()),
            ..Self::default()
        }
    }
}

impl From<ContainerMembers> for Container {
    fn from(members: ContainerMembers) -> Self {
        Self {
            name: members.name,
            image: members.image,
            image_pull_policy: members.image_pull_policy,
            restart_policy: members.restart_policy,
            command: members.command,
            args: members.args,
            // An API server validated the variables.
            env: members.env.and_then(|env| serde_json::from_str(env.get()).ok()),
            ..Self::default()
        }
    }
}
