//! Classes of nodes: nodes that no constraint of an ordinary pod tells apart.

use std::collections::BTreeMap;
use std::fmt;

use super::runtime::Runtime;
use super::taint::Taint;
use crate::platform::Platform;

/// Properties that the nodes of a class share. A cluster of thousands of nodes has dozens of classes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeClass {
    /// Labels, without those that the nodes keep.
    pub labels: BTreeMap<String, String>,
    /// Taints that permanently repel pods, in order.
    pub taints: Vec<Taint>,
    /// Platform of the images that the nodes run; `None` until the kubelet or a label reports a platform.
    pub platform: Option<Platform>,
    /// Container runtime; `None` until the kubelet has reported.
    pub runtime: Option<Runtime>,
}

/// Class with nodes that a pod could be scheduled to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Class of the nodes.
    pub class: &'a NodeClass,
    /// Name of the first node, as an example.
    pub node: &'a str,
    /// Number of nodes in the class.
    pub nodes: usize,
}

impl fmt::Display for NodeClass {
    /// Prints platform and runtime, which decide: `linux/amd64 with containerd://1.4.13`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.platform {
            Some(platform) => write!(formatter, "{platform}")?,
            None => formatter.write_str("unknown platform")?,
        }
        match &self.runtime {
            Some(runtime) => write!(formatter, " with {runtime}"),
            None => formatter.write_str(" without a reported runtime"),
        }
    }
}

impl fmt::Display for Candidate<'_> {
    /// Prints `node a (linux/amd64 with containerd://1.4.13)`, and the number of equal nodes.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { class, node, nodes } = self;
        match nodes {
            1 => write!(formatter, "node {node} ({class})"),
            _ => write!(formatter, "node {node} ({class}; {nodes} such nodes)"),
        }
    }
}
