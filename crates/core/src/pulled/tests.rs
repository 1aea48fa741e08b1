use proptest::prelude::*;

use super::*;

fn pull(image: &str, micros: u64, image_bytes: Option<u64>) -> Pulled<'_> {
    Pulled { image, took: Duration::from_micros(micros), image_bytes }
}

#[test]
fn messages_of_kubelets_since_1_19_are_read() {
    let variant = "r.example/app:v1-zstd-0123456789ab-01234567@sha256:\
                   e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let message = format!("Successfully pulled image \"{variant}\" in 1.2s (1.2s including waiting)");
    assert_eq!(Pulled::parse(&message), Some(pull(variant, 1_200_000, None)));
    for (message, image, micros, image_bytes) in [
        // 1.19 to 1.25: kubernetes/kubernetes#91563 and #111772.
        ("Successfully pulled image \"nginx\" in 49.657983s", "nginx", 49_657_983, None),
        (
            "Successfully pulled image \"docker.m.daocloud.io/library/ubuntu:22.10\" in 1m21.28422s",
            "docker.m.daocloud.io/library/ubuntu:22.10",
            81_284_220,
            None,
        ),
        // 1.26.
        (
            "Successfully pulled image \"public.ecr.aws/a/b:v3.4.1\" in 1.315633s (1.315641s including waiting)",
            "public.ecr.aws/a/b:v3.4.1",
            1_315_633,
            None,
        ),
        // 1.27 to 1.29.
        (
            "Successfully pulled image \"registry.k8s.io/echoserver:1.4\" in 7.46s (7.46s including waiting)",
            "registry.k8s.io/echoserver:1.4",
            7_460_000,
            None,
        ),
        // 1.30 to 1.36. The kubelet waited for other pulls.
        (
            "Successfully pulled image \"ghcr.io/actions/actions-runner:latest\" in 796ms (1.594s including \
             waiting). Image size: 543804759 bytes.",
            "ghcr.io/actions/actions-runner:latest",
            796_000,
            Some(543_804_759),
        ),
        (
            "Successfully pulled image \"nginx\" in 1m0.809s (1m0.809s including waiting). Image size: 187694648 \
             bytes.",
            "nginx",
            60_809_000,
            Some(187_694_648),
        ),
        // The runtime didn't tell the size.
        (
            "Successfully pulled image \"a:1\" in 0s (1ms including waiting). Image size: 0 bytes.",
            "a:1",
            0,
            None,
        ),
        // client-go has combined more than ten events.
        (
            "(combined from similar events): Successfully pulled image \"busybox\" in 1.067s (1.067s including \
             waiting). Image size: 632444253 bytes.",
            "busybox",
            1_067_000,
            Some(632_444_253),
        ),
    ] {
        assert_eq!(Pulled::parse(message), Some(pull(image, micros, image_bytes)), "{message}");
    }
}

#[test]
fn image_on_the_node_is_no_pull() {
    for message in [
        "Container image \"a:1\" already present on machine",
        "Container image \"a:1\" already present on machine and can be accessed by the pod",
        // Up to 1.18.
        "Successfully pulled image \"a:1\"",
        "Successfully pulled image \"a:1\" in ",
        "Successfully pulled image \"a:1\" in soon",
        "Successfully pulled image \"a:1\" in -1s",
        "Successfully pulled image \"a:1 in 1s",
        "Pulling image \"a:1\" in 1s",
        "",
    ] {
        assert_eq!(Pulled::parse(message), None, "{message}");
    }
}

#[test]
fn durations_are_those_of_go() {
    for (text, nanos) in [
        ("0s", Some(0)),
        ("1ns", Some(1)),
        ("15µs", Some(15_000)),
        ("15μs", Some(15_000)),
        ("1.5us", Some(1_500)),
        ("812.5ms", Some(812_500_000)),
        ("1h2m3.000000004s", Some(3_723_000_000_004)),
        ("2562047h47m16.854775807s", Some(9_223_372_036_854_775_807)),
        ("99999999999999999999h", None),
        ("18446744073709551615h", None),
        ("1", None),
        ("s", None),
        (".5s", None),
        ("1s ", None),
        ("1d", None),
        ("-1s", None),
        ("1..5s", None),
        ("", None),
    ] {
        assert_eq!(go_duration(text), nanos.map(Duration::from_nanos), "{text}");
    }
}

proptest! {
    #[test]
    fn no_message_panics(
        front in "(\\(combined from similar events\\): )?(Successfully pulled image \")?",
        image in "\\PC{0,20}",
        rest in "(\" in )?[0-9.hmsnuµ\\-+ ()]{0,30}\\PC{0,10}(Image size: [0-9]{0,25}( bytes)?)?",
        any in any::<String>(),
    ) {
        let message = format!("{front}{image}{rest}");
        if let Some(pulled) = Pulled::parse(&message) {
            prop_assert!(message.contains(pulled.image));
        }
        let _ = Pulled::parse(&any);
    }

    #[test]
    fn printed_durations_are_read_back(nanos in 0..3_600_000_000_000_u64) {
        let (minutes, seconds) = (nanos / 60_000_000_000, nanos % 60_000_000_000);
        let text = format!("{minutes}m{}.{:09}s", seconds / 1_000_000_000, seconds % 1_000_000_000);
        prop_assert_eq!(go_duration(&text), Some(Duration::from_nanos(nanos)));
    }
}
