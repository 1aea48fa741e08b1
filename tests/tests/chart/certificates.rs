//! The three sources of the webhook's certificate, as rendered.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use zstart_controller::certificates::CertificateSettings;
use zstart_tests::chart::{Helm, NAMESPACE, find, name};

use crate::rendering::configuration;

const CERT_MANAGER: &str = "webhook.certificate.mode=certManager";

/// PEM of a certificate authority.
pub(crate) fn authority() -> Result<String> {
    Ok(rcgen::generate_simple_self_signed(["zstart".to_owned()])?.cert.pem())
}

/// Values of mode `secret` with this bundle, in base64.
pub(crate) fn given(bundle: &str) -> [String; 3] {
    [
        "webhook.certificate.mode=secret".to_owned(),
        "webhook.certificate.secretName=internal-webhook".to_owned(),
        format!("webhook.certificate.caBundle={}", STANDARD.encode(bundle)),
    ]
}

async fn render(helm: &Helm, sets: &[String]) -> Result<Vec<Value>> {
    helm.render("zstart", &sets.iter().map(String::as_str).collect::<Vec<_>>()).await
}

#[tokio::test]
async fn cert_manager_signs_with_an_authority_of_zstart() -> Result<()> {
    let helm = Helm::find().await?;
    let objects = helm.render("zstart", &[CERT_MANAGER]).await?;
    let admission = find(&objects, "MutatingWebhookConfiguration", "zstart")?;
    assert_eq!(admission["webhooks"][0]["clientConfig"].get("caBundle"), None);

    // cainjector reads the Certificate that the annotation names.
    let injected = &admission["metadata"]["annotations"]["cert-manager.io/inject-ca-from"];
    let (namespace, serving) =
        injected.as_str().and_then(|value| value.split_once('/')).context("no name")?;
    let serving = find(&objects, "Certificate", serving)?;
    assert_eq!((namespace, &serving["metadata"]["namespace"]), (NAMESPACE, &json!(NAMESPACE)));
    let serving = &serving["spec"];
    let names: Vec<String> = CertificateSettings::default().dns_names(NAMESPACE).into_iter().collect();
    let mut rendered: Vec<String> = serde_json::from_value(serving["dnsNames"].clone())?;
    rendered.sort();
    assert_eq!(rendered, names);
    assert_eq!(serving["secretName"], configuration(&objects, "zstart-webhook")?["servingSecret"]);

    // The chain: a self-signed issuer, the authority, an issuer with the authority, the serving certificate.
    let issuer = find(&objects, "Issuer", serving["issuerRef"]["name"].as_str().context("no issuer")?)?;
    let authority = objects
        .iter()
        .filter(|object| object["kind"] == "Certificate" && object["spec"]["isCA"] == true)
        .find(|object| object["spec"]["secretName"] == issuer["spec"]["ca"]["secretName"])
        .context("no authority")?;
    assert!(authority["spec"]["commonName"].as_str().is_some_and(|name| !name.is_empty()), "{authority}");
    let root = authority["spec"]["issuerRef"]["name"].as_str().context("no issuer")?;
    assert_eq!(find(&objects, "Issuer", root)?["spec"], json!({"selfSigned": {}}));
    Ok(())
}

#[tokio::test]
async fn issuer_ref_replaces_the_authority_of_zstart() -> Result<()> {
    let helm = Helm::find().await?;
    let reference = "webhook.certificate.issuerRef";
    let sets =
        [CERT_MANAGER, &format!("{reference}.name=internal"), &format!("{reference}.kind=ClusterIssuer")];
    let objects = helm.render("zstart", &sets).await?;
    let made: Vec<(&Value, &str)> = objects
        .iter()
        .filter(|object| object["apiVersion"] == "cert-manager.io/v1")
        .map(|object| (&object["kind"], name(object)))
        .collect();
    assert_eq!(made, [(&json!("Certificate"), "zstart-webhook-tls")]);
    assert_eq!(
        find(&objects, "Certificate", "zstart-webhook-tls")?["spec"]["issuerRef"],
        json!({"group": "cert-manager.io", "kind": "ClusterIssuer", "name": "internal"})
    );
    Ok(())
}

#[tokio::test]
async fn given_bundle_is_rendered_from_pem_and_base64() -> Result<()> {
    let helm = Helm::find().await?;
    let bundle = authority()?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("values.yaml");
    // A line break within base64, as the tool base64 prints it.
    let mut wrapped = STANDARD.encode(&bundle);
    wrapped.insert(76, '\n');
    for text in [bundle.clone(), format!("subject=CN = zstart\n{bundle}\n\n"), wrapped] {
        let certificate = json!({"mode": "secret", "secretName": "internal-webhook", "caBundle": text});
        std::fs::write(&file, json!({"webhook": {"certificate": certificate}}).to_string())?;
        let objects = helm.render_file("zstart", &file).await?;
        let admission = find(&objects, "MutatingWebhookConfiguration", "zstart-webhook")?;
        let rendered = &admission["webhooks"][0]["clientConfig"]["caBundle"];
        let rendered = STANDARD.decode(rendered.as_str().context("no caBundle")?)?;
        let rendered = String::from_utf8(rendered)?;
        assert!(rendered.ends_with(&format!("{}\n", bundle.trim())), "{rendered}");
        assert_eq!(configuration(&objects, "zstart-webhook")?["servingSecret"], "internal-webhook");
        let role = find(&objects, "Role", "zstart-webhook")?;
        assert_eq!(role["rules"][0]["resourceNames"], json!(["internal-webhook"]));
    }
    Ok(())
}

#[tokio::test]
async fn foreign_certificates_take_rights_from_the_controller() -> Result<()> {
    let helm = Helm::find().await?;
    for sets in [vec![CERT_MANAGER.to_owned()], given(&authority()?).to_vec()] {
        let objects = render(&helm, &sets).await?;
        let file = configuration(&objects, "zstart-controller")?;
        assert_eq!((&file["rotateCertificates"], file.get("webhook")), (&json!(false), None));
        let roles = objects.iter().filter(|object| {
            ["Role", "ClusterRole"].iter().any(|kind| object["kind"] == *kind)
                && name(object) == "zstart-controller"
        });
        for rule in roles.flat_map(|role| role["rules"].as_array().into_iter().flatten()) {
            assert_ne!(rule["apiGroups"], json!(["admissionregistration.k8s.io"]), "{rule}");
            if rule["resources"].as_array().is_some_and(|all| all.contains(&json!("secrets"))) {
                assert_eq!(rule["verbs"], json!(["get"]), "{rule}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn certificate_values_of_another_mode_are_refused() -> Result<()> {
    let helm = Helm::find().await?;
    let path = "webhook.certificate";
    let [mode, secret, bundle] = given(&authority()?);
    let key = STANDARD.encode(rcgen::KeyPair::generate()?.serialize_pem());
    let own = |name: &str| vec![mode.clone(), format!("{path}.secretName={name}"), bundle.clone()];
    let cases = [
        (
            vec![mode.clone(), bundle.clone()],
            ["webhook.certificate.secretName is empty", "kubernetes.io/tls"],
        ),
        (vec![mode.clone(), secret.clone()], ["webhook.certificate.caBundle is empty", "--set-file"]),
        (own("zstart-webhook-tls"), ["webhook.certificate.secretName is zstart-webhook-tls", "another name"]),
        (own("zstart-webhook-ca"), ["webhook.certificate.secretName is zstart-webhook-ca", "another name"]),
        (vec![secret.clone()], ["webhook.certificate.secretName is set", "mode is zstart"]),
        (vec![bundle.clone()], ["webhook.certificate.caBundle is set", "mode is zstart"]),
        (
            vec![CERT_MANAGER.to_owned(), bundle],
            ["webhook.certificate.caBundle is set", "mode is certManager"],
        ),
        (
            vec![format!("{path}.issuerRef.name=a")],
            ["webhook.certificate.issuerRef is set", "mode is zstart"],
        ),
        (
            vec![CERT_MANAGER.to_owned(), format!("{path}.issuerRef.kind=Issuer")],
            ["/webhook/certificate/issuerRef", "'name' required"],
        ),
        (
            vec![mode.clone(), secret.clone(), format!("{path}.caBundle=ca.crt")],
            ["webhook.certificate.caBundle has no certificate", "-----BEGIN CERTIFICATE-----"],
        ),
        (
            vec![mode.clone(), secret.clone(), format!("{path}.caBundle={key}")],
            ["webhook.certificate.caBundle has a private key", "certificates only"],
        ),
        (
            vec![format!("{path}.mode=manual")],
            ["/webhook/certificate/mode", "'zstart', 'certManager', 'secret'"],
        ),
        (vec![format!("{path}.secretName=A_b")], ["/webhook/certificate/secretName", "pattern"]),
        (vec![format!("{path}.caBundel=x")], ["/webhook/certificate", "caBundel"]),
    ];
    for (sets, expected) in cases {
        let refused = render(&helm, &sets).await;
        let message = match refused {
            Err(error) => format!("{error:#}"),
            Ok(_) => anyhow::bail!("{sets:?} was rendered"),
        };
        for part in expected {
            assert!(message.contains(part), "{sets:?} says {message:?} without {part:?}");
        }
        assert!(!message.contains(&key), "{message}");
    }
    Ok(())
}
