//! JSON Patches.

use super::*;
use crate::heal::decide::Case;
use crate::heal::patch::put_back;

fn patch(pod: &Pod) -> Value {
    let failing = failing(pod);
    let cases: Vec<Case<'_>> = failing.failures.iter().filter_map(|pull| Case::of(&failing, pull)).collect();
    put_back(&failing, &cases)
}

#[test]
fn last_entry_removes_the_annotation() {
    let annotation = json!({"containers/app": ORIGINAL}).to_string();
    assert_eq!(
        patch(&simple("ErrImagePull", NOT_FOUND)),
        json!([
            {"op": "test", "path": "/metadata/uid", "value": "pod-1"},
            {"op": "test", "path": "/spec/containers/0/name", "value": "app"},
            {"op": "test", "path": "/spec/containers/0/image", "value": variant_of(ORIGINAL)},
            {"op": "replace", "path": "/spec/containers/0/image", "value": ORIGINAL},
            {"op": "test", "path": "/metadata/annotations/zstart.dev~1originals", "value": annotation},
            {"op": "remove", "path": "/metadata/annotations/zstart.dev~1originals"},
        ])
    );
}

#[test]
fn entries_of_other_containers_stay() {
    let (init, app) = ("r.example/init:v1", ORIGINAL);
    let spec = json!({
        "initContainers": [{"name": "a", "image": "r.example/x:v1"}, {"name": "init", "image": variant_of(init)}],
        "containers": [{"name": "app", "image": variant_of(app)}],
    });
    let originals = json!({"containers/app": app, "initContainers/init": init});
    let pod = pod(&originals, &spec, &[("initContainerStatuses", "init", "ErrImagePull", NOT_FOUND)]);
    let patch = patch(&pod);
    assert_eq!(patch[2]["path"], "/spec/initContainers/1/image");
    let kept = json!({"containers/app": app}).to_string();
    let path = "/metadata/annotations/zstart.dev~1originals";
    assert_eq!(patch[5], json!({"op": "replace", "path": path, "value": kept}));
}
