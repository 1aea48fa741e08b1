use super::{images, parse, require_edit};
use crate::{Cpu, Format, Target};

#[test]
fn every_kind_with_a_pod_template_is_read() {
    let spec = "containers: [{name: app, image: r.example/app:v1}]";
    for (version, kind, path) in [
        ("v1", "Pod", "spec: {SPEC}"),
        ("v1", "PodTemplate", "template: {spec: {SPEC}}"),
        ("v1", "ReplicationController", "spec: {template: {spec: {SPEC}}}"),
        ("apps/v1", "Deployment", "spec: {template: {spec: {SPEC}}}"),
        ("apps/v1", "StatefulSet", "spec: {template: {spec: {SPEC}}}"),
        ("apps/v1", "DaemonSet", "spec: {template: {spec: {SPEC}}}"),
        ("apps/v1", "ReplicaSet", "spec: {template: {spec: {SPEC}}}"),
        ("batch/v1", "Job", "spec: {template: {spec: {SPEC}}}"),
        ("batch/v1", "CronJob", "spec: {jobTemplate: {spec: {template: {spec: {SPEC}}}}}"),
    ] {
        let path = path.replace("SPEC", spec);
        let text = format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: web}}\n{path}\n");
        let found = images(&parse(&text, Format::Yaml));
        assert_eq!(found, [format!("{kind}/web, container app: r.example/app:v1")], "{text}");
        require_edit(&text, Format::Yaml, "r.example/app:v1");
    }
}

#[test]
fn kinds_of_other_groups_are_skipped() {
    for (version, kind) in [("batch.volcano.sh/v1alpha1", "Job"), ("example/v1", "Pod"), ("apps/v1", "Pod")] {
        let text = format!(
            "apiVersion: {version}\nkind: {kind}\nspec: {{containers: [{{image: a}}], \
             template: {{spec: {{containers: [{{image: a}}]}}}}}}\n"
        );
        assert_eq!(images(&parse(&text, Format::Yaml)), [""; 0], "{text}");
    }
}

#[test]
fn init_containers_and_image_volumes_are_read() {
    let text = "\
apiVersion: v1
kind: Pod
metadata: {generateName: job-}
spec:
  volumes:
    - {name: data, image: {reference: r.example/data:v1}}
    - {name: tmp, emptyDir: {}}
  initContainers: [{name: init, image: r.example/init:v1}]
  containers: [{name: app, image: r.example/app:v1}, {name: none}]
  ephemeralContainers: [{name: debug, image: r.example/debug:v1}]
";
    let manifest = parse(text, Format::Yaml);
    let expected = [
        "Pod/job-, volume data: r.example/data:v1",
        "Pod/job-, init container init: r.example/init:v1",
        "Pod/job-, container app: r.example/app:v1",
    ];
    assert_eq!(images(&manifest), expected);
    assert!(manifest.images().iter().all(|image| image.target == Target::Kubernetes));
    let lines: Vec<usize> = manifest.images().iter().map(|image| image.line).collect();
    assert_eq!(lines, [6, 8, 9]);
}

#[test]
fn lists_of_any_kind_are_read() {
    let item =
        "metadata: {name: web}\n  spec: {template: {spec: {containers: [{name: a, image: r.example/a:v1}]}}}";
    for (kind, own) in [("List", "apiVersion: apps/v1\n  kind: Deployment\n  "), ("DeploymentList", "")] {
        let text = format!(
            "kind: {kind}\napiVersion: {}\nitems:\n- {own}{item}\n",
            if own.is_empty() { "apps/v1" } else { "v1" }
        );
        assert_eq!(
            images(&parse(&text, Format::Yaml)),
            ["Deployment/web, container a: r.example/a:v1"],
            "{text}"
        );
    }
}

#[test]
fn task_definition_may_be_yaml() {
    let text = "family: web\nruntimePlatform: {cpuArchitecture: ARM64}\n\
                containerDefinitions:\n- name: app\n  image: r.example/app:v1\n";
    let manifest = parse(text, Format::Yaml);
    assert_eq!(images(&manifest), ["task web, container app: r.example/app:v1"]);
    assert_eq!(manifest.images()[0].target, Target::Ecs(Some(Cpu::Arm)));
}
